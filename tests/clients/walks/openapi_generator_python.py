"""A walk with the Python client that OpenAPI Generator makes: sign up, pay, read, be refused."""

import sys
from collections.abc import Callable

from generated_client import (
    AccountCreate,
    AccountsApi,
    ApiClient,
    Configuration,
    DepositCreate,
    IdentityApi,
    SessionCreate,
    SimulationsApi,
    TransferCreate,
    TransfersApi,
    UserCreate,
)
from generated_client.exceptions import BadRequestException

LARGEST = 2**53 - 1
PASSWORD = "correct horse battery staple"


def refused(ask: Callable[[], object]) -> str | None:
    """The code with which something is refused, None when it is not."""
    try:
        ask()
    except BadRequestException as error:
        return str(error.data.code)
    return None


def main(base: str) -> None:
    """Walk through the bank at an address."""
    settings = Configuration(host=base)
    with ApiClient(settings) as client:
        identity = IdentityApi(client)
        email = "generator@example.test"
        identity.create_user(UserCreate(email=email, password=PASSWORD))
        session = identity.create_session(SessionCreate(email=email, password=PASSWORD))
        settings.access_token = session.access_token
        accounts, transfers = AccountsApi(client), TransfersApi(client)
        products = accounts.list_products()
        assert (products.next_cursor, products.has_more) == (None, False)
        wanted = AccountCreate(type="checking", currency="EUR")
        rich = accounts.create_account(wanted, idempotency_key="first")
        poor = accounts.create_account(wanted)
        assert rich.status == "active"
        gift = DepositCreate(account_id=rich.id, amount=LARGEST, currency="EUR")
        SimulationsApi(client).create_deposit(gift)
        payment = TransferCreate(
            from_account_id=rich.id, to_account_number=poor.account_number, amount=LARGEST - 1
        )
        paid = transfers.create_transfer(payment, idempotency_key="rent")
        assert (paid.amount, paid.balance_after) == (LARGEST - 1, 1)
        assert refused(lambda: transfers.create_transfer(payment)) == "insufficient_funds"
        page = transfers.list_transfers(limit=1)
        rest = transfers.list_transfers(cursor=page.next_cursor)
        assert [len(page.items), len(rest.items)] == [1, 1]
        lines = accounts.list_transactions(rich.id, min_amount=1)
        numbers = [line.counterparty.account_number for line in lines.items]
        assert numbers == [poor.account_number, None]


if __name__ == "__main__":
    main(sys.argv[1])
