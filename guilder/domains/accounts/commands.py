"""Writes of accounts."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.clock import day_date, day_of
from guilder.core.errors import Forbidden, Unauthenticated
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.accounts import repository
from guilder.domains.accounts.errors import CurrencyNotOffered, at
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.accounts.rules import ACTIVE, PRODUCTS, account_number_of
from guilder.domains.identity.queries import is_active
from guilder.domains.ledger.commands import (
    Category,
    CloseLedgerAccount,
    EnsureBankAccounts,
    OpenLedgerAccount,
    close_ledger_account,
    ensure_bank_accounts,
    lock_head,
    open_ledger_account,
)
from guilder.domains.ledger.errors import BalanceNotZero
from guilder.domains.ledger.queries import bank_now


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Open an account of a product for the acting user. ``name`` None takes the product's.

    ``account_id`` None is a fresh one, as it is for everybody but the demo's people.
    """

    action: ClassVar[str] = "account.open"
    product_code: str
    currency: str
    name: str | None = None
    account_id: UUID | None = None


async def open_account(uow: UnitOfWork, cmd: OpenAccount) -> AccountRow:
    """Open the account on a ledger account of its own.

    The bank's own accounts in that currency are opened with the first account that needs them.
    Raises ``CurrencyNotOffered``, ``Forbidden`` without a user, and ``Unauthenticated`` when the
    user's login was closed meanwhile.
    """
    product = PRODUCTS[cmd.product_code]
    now_us = await bank_now(uow)
    if cmd.currency not in product.currencies_on(day_date(day_of(now_us))):
        raise at("/currency", CurrencyNotOffered)
    owner = uow.actor.acts_for
    if owner is None:
        raise Forbidden("An account needs an owner.")
    await ensure_bank_accounts(uow, EnsureBankAccounts(cmd.currency, now_us))
    opened = await open_ledger_account(
        uow,
        OpenLedgerAccount(
            cmd.currency,
            Category.LIABILITY,
            product.name,
            now_us,
            floor=product.floor,
            ceiling=product.ceiling,
            public_id=cmd.account_id,
        ),
    )
    if not await is_active(uow, owner):  # read behind the lock that closing a login takes
        raise Unauthenticated()
    return await repository.insert_account(
        uow,
        {
            "id": opened.public_id,
            "ledger_number": opened.number,
            "owner_user_id": owner,
            "product_code": product.code,
            "account_number": account_number_of(opened.number),
            "currency": cmd.currency,
            "name": cmd.name or product.name,
            "status": ACTIVE,
            "created_at": now_us,
        },
    )


async def close_accounts(uow: UnitOfWork, user_id: UUID) -> bool:
    """Close all accounts of a user, ordered with every posting.

    False when one of them holds or owes money or has some held; then the caller changes nothing.
    """
    owner = Actor(user_id, None)
    await lock_head(uow)  # before the accounts are read: none is opened, nothing booked after that
    try:
        for number in await repository.numbers_of(uow, owner):
            await close_ledger_account(uow, CloseLedgerAccount(number))
    except BalanceNotZero:
        return False
    await repository.close_all(uow, owner)
    return True
