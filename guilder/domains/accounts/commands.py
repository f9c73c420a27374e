"""Writes of accounts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.clock import day_date, day_of
from guilder.core.errors import Forbidden, Refusal, Unauthenticated
from guilder.core.result import Err, Ok
from guilder.db.calls import Asked, SetBased
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.accounts import repository
from guilder.domains.accounts.errors import CurrencyNotOffered, at
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.accounts.rules import ACTIVE, PRODUCTS, account_number_of
from guilder.domains.identity.commands.users import hold_active
from guilder.domains.ledger.commands import (
    Category,
    CloseLedgerAccount,
    EnsureBankAccounts,
    Opened,
    OpenLedgerAccount,
    close_before,
    close_ledger_account,
    ensure_bank_accounts,
    has_bank_accounts,
    insert_ledger_accounts,
    lock_head,
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


async def open_accounts(
    asked: Sequence[Asked[OpenAccount]],
) -> list[Ok[AccountRow] | Err[Refusal]]:
    """Open accounts, each on a ledger account of its own.

    The bank's own accounts in a currency are opened with the first account that needs them.
    A call's ``Err`` is ``CurrencyNotOffered``, ``Forbidden`` without a user, or ``Unauthenticated``
    when the user's login was closed meanwhile.
    """
    uow = asked[0].uow
    now_us = await bank_now(uow)
    today = day_date(day_of(now_us))
    # Before the ledger is locked, as closing a login does: no account is opened after that.
    owners = {owner for one, _ in asked if (owner := one.actor.acts_for) is not None}
    active = await hold_active(uow, owners) if owners else set()
    refusals = [_refusal(one, today, active) for one in asked]
    opening = [one for one, refused in zip(asked, refusals, strict=True) if refused is None]
    opened = iter(await _opened(opening, now_us) if opening else ())
    return [Ok(next(opened)) if refused is None else Err(refused) for refused in refusals]


open_account: Final = SetBased(open_accounts)


def _refusal(one: Asked[OpenAccount], today: date, active: Collection[UUID]) -> Refusal | None:
    if not PRODUCTS[one.command.product_code].offers(one.command.currency, today):
        return at("/currency", CurrencyNotOffered)
    user_id = one.uow.actor.acts_for
    if user_id is None:
        return Forbidden("An account needs an owner.")
    return None if user_id in active else Unauthenticated()


async def _opened(asked: Sequence[Asked[OpenAccount]], now_us: int) -> list[AccountRow]:
    uow = asked[0].uow
    currencies = {one.command.currency: one.uow for one in asked}
    if not await has_bank_accounts(uow, currencies):
        for currency, first in currencies.items():
            await ensure_bank_accounts(first, EnsureBankAccounts(currency, now_us))
    opened = await insert_ledger_accounts([_on_ledger(one, now_us) for one in asked])
    new = [(one.uow, _row(one, two, now_us)) for one, two in zip(asked, opened, strict=True)]
    rows = await repository.insert_accounts(new)
    await close_before(uow, now_us)
    return rows


def _on_ledger(one: Asked[OpenAccount], now_us: int) -> Asked[OpenLedgerAccount]:
    product = PRODUCTS[one.command.product_code]
    command = OpenLedgerAccount(
        one.command.currency,
        Category.LIABILITY,
        product.name,
        now_us,
        floor=product.floor,
        ceiling=product.ceiling,
        public_id=one.command.account_id,
    )
    return Asked(one.uow, command)


def _row(one: Asked[OpenAccount], opened: Opened, now_us: int) -> AccountRow:
    product, owner = PRODUCTS[one.command.product_code], one.uow.actor.acts_for
    assert owner is not None
    return AccountRow(
        id=opened.public_id,
        ledger_number=opened.number,
        owner_user_id=owner,
        product_code=product.code,
        account_number=account_number_of(opened.number),
        currency=one.command.currency,
        name=one.command.name or product.name,
        status=ACTIVE,
        created_at=now_us,
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
