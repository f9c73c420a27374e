"""A walk with the client that openapi-python-client makes: sign up, pay, read, be refused."""

import sys

from bank_client import AuthenticatedClient, Client
from bank_client.api.accounts import create_account, get_account, list_transactions
from bank_client.api.identity import create_session, create_user
from bank_client.api.simulations import create_deposit
from bank_client.api.transfers import create_transfer, list_transfers
from bank_client.models import (
    AccountCreate,
    AccountCreateType,
    AccountOut,
    AccountStatus,
    Currency,
    DepositCreate,
    LinePage,
    Problem,
    SessionCreate,
    SessionCreatedOut,
    TransferCreate,
    TransferOut,
    TransferPage,
    UserCreate,
)

LARGEST = 2**53 - 1
PASSWORD = "correct horse battery staple"


def main(base: str) -> None:
    """Walk through the bank at an address."""
    stranger = Client(base_url=base)
    email = "python-client@example.test"
    create_user.sync(client=stranger, body=UserCreate(email=email, password=PASSWORD))
    session = create_session.sync(
        client=stranger, body=SessionCreate(email=email, password=PASSWORD)
    )
    assert isinstance(session, SessionCreatedOut), session
    mine = AuthenticatedClient(base_url=base, token=session.access_token)
    wanted = AccountCreate(type_=AccountCreateType.CHECKING, currency=Currency.EUR)
    rich = create_account.sync(client=mine, body=wanted, idempotency_key="first")
    poor = create_account.sync(client=mine, body=wanted)
    assert isinstance(rich, AccountOut), rich
    assert isinstance(poor, AccountOut), poor
    assert rich.status == AccountStatus.ACTIVE
    gift = DepositCreate(account_id=rich.id, amount=LARGEST, currency=Currency.EUR)
    assert isinstance(create_deposit.sync(client=mine, body=gift), TransferOut)
    payment = TransferCreate(
        from_account_id=rich.id, to_account_number=poor.account_number, amount=LARGEST - 1
    )
    paid = create_transfer.sync(client=mine, body=payment, idempotency_key="rent")
    assert isinstance(paid, TransferOut), paid
    assert (paid.amount, paid.balance_after) == (LARGEST - 1, 1)
    refused = create_transfer.sync(client=mine, body=payment)
    assert isinstance(refused, Problem), refused
    assert (refused.status, refused.code) == (400, "insufficient_funds")
    again = get_account.sync(client=mine, account_id=poor.id)
    assert isinstance(again, AccountOut), again
    assert again.balance == LARGEST - 1
    page = list_transfers.sync(client=mine, limit=1)
    assert isinstance(page, TransferPage), page
    assert page.has_more
    assert isinstance(page.next_cursor, str)
    rest = list_transfers.sync(client=mine, cursor=page.next_cursor)
    assert isinstance(rest, TransferPage), rest
    assert len(rest.items) == 1
    lines = list_transactions.sync(client=mine, account_id=rich.id, min_amount=1)
    assert isinstance(lines, LinePage), lines
    assert [line.counterparty.account_number for line in lines.items] == [poor.account_number, None]


if __name__ == "__main__":
    main(sys.argv[1])
