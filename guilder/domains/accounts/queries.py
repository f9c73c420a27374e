"""Reads of accounts: balances, lines, statements, and the directory of immutable facts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.errors import Place
from guilder.core.ownership import owns
from guilder.core.page import Page, PageRequest, cursor_number, paginate
from guilder.db.reader import Reader
from guilder.db.unit_of_work import View
from guilder.domains.accounts import repository
from guilder.domains.accounts.errors import MonthBeforeOpening, MonthInFuture, at
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.accounts.rules import Month
from guilder.domains.ledger import queries as ledger
from guilder.domains.ledger.errors import AccountNotFound
from guilder.domains.ledger.queries import Balance, LineFilter, LineRow, Totals

MAX_STATEMENT_LINES: Final = 10_000
"""Lines that one statement answers with; its sums are of all."""


@dataclass(frozen=True, slots=True)
class Account:
    """A customer's account and its balance at one moment."""

    row: AccountRow
    balance: Balance


async def get_account(view: Reader, actor: Actor, account_id: UUID) -> Account:
    """An account that the actor may see. Raises ``AccountNotFound`` for any other."""
    row = await get_row(view, actor, account_id)
    return Account(row, (await ledger.balances_of(view, [row.ledger_number]))[row.ledger_number])


async def get_row(view: Reader, actor: Actor, account_id: UUID) -> AccountRow:
    """The facts of an account that the actor may see. Raises ``AccountNotFound`` for any other."""
    row = await repository.account(view, actor, account_id)
    if row is None:
        raise AccountNotFound()
    return row


async def list_accounts(view: Reader, actor: Actor, page: PageRequest) -> Page[Account]:
    """A page of the actor's own accounts, newest first."""
    before = cursor_number(page)
    rows = await repository.newest_accounts(view, actor, before, page.limit + 1, page.offset)
    balances = await ledger.balances_of(view, [row.ledger_number for row in rows])
    return paginate(rows, page, lambda row: str(row.ledger_number)).map(
        lambda row: Account(row, balances[row.ledger_number])
    )


async def numbers_of(view: Reader, actor: Actor) -> list[int]:
    """Ledger numbers of the actor's own accounts, for reads that span them all."""
    return await repository.numbers_of(view, actor)


async def own_numbers(view: Reader, actor: Actor, numbers: Collection[int]) -> set[int]:
    """Which of some ledger numbers are accounts of the actor's own."""
    rows = await repository.facts(view, numbers)
    return {number for number, row in rows.items() if owns(actor, row.owner_user_id)}


async def get_balance_at(
    view: Reader, actor: Actor, account_id: UUID, at_us: int
) -> tuple[AccountRow, int]:
    """What the customer owned at an instant of booking, inclusive."""
    row = await get_row(view, actor, account_id)
    return row, await ledger.balance_at(view, row.ledger_number, at_us)


async def get_balance_on(
    view: Reader, actor: Actor, account_id: UUID, day: int
) -> tuple[AccountRow, int]:
    """What the customer owned at the end of a value date, given in days since 1970."""
    row = await get_row(view, actor, account_id)
    return row, await ledger.balance_on(view, row.ledger_number, day)


class Counterparty(NamedTuple):
    """The other side of a line; ``account_number`` is None for the bank's own accounts."""

    account_id: str
    account_number: str | None
    name: str
    bank_code: str | None
    owner: UUID | None = None


async def counterparties(view: Reader, numbers: Collection[int]) -> dict[int, Counterparty]:
    """What anybody may know of the accounts on the other side, by ledger number; it never changes.

    The name that someone gave an account is theirs: others see what kind of account it is.
    """
    facts = await ledger.account_facts(view, numbers)
    rows = await repository.facts(view, numbers)
    found = {}
    for number, fact in facts.items():
        row = rows.get(number)
        account_number, owner = (row.account_number, row.owner_user_id) if row else (None, None)
        found[number] = Counterparty(
            str(fact.public_id), account_number, fact.name, fact.code, owner
        )
    return found


async def names_of(view: Reader, numbers: Collection[int]) -> dict[int, str]:
    """What owners call their accounts: for the owners."""
    return await repository.own_names(view, numbers)


def other_side(row: LineRow) -> int:
    """The ledger number of the account on the other side of a line."""
    return row.debit_account if row.delta > 0 else row.credit_account


async def list_lines(
    view: Reader,
    actor: Actor,
    account_id: UUID,
    wanted: LineFilter,
    page: PageRequest,
    *,
    pending: bool = False,
) -> Page[LineRow]:
    """A page of an account's lines, newest first. There are no ``pending`` ones yet."""
    row = await get_row(view, actor, account_id)
    if pending:
        return Page([], None)
    return await ledger.lines(view, row.ledger_number, wanted, page)


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of an account: two balances, the sums between them, and the lines, oldest first."""

    account: AccountRow
    month: Month
    totals: Totals
    lines: Sequence[LineRow]
    truncated: bool


async def statement(view: Reader, actor: Actor, account_id: UUID, month: Month) -> Statement:
    """The statement of a calendar month in UTC, by booking.

    Raises ``MonthInFuture``, ``MonthBeforeOpening``, or ``AccountNotFound`` as ``get_row`` does.
    """
    row = await get_row(view, actor, account_id)
    if month.first > Month.of(await ledger.bank_now(view)).first:
        raise at("month", MonthInFuture, Place.QUERY)
    if month.first < Month.of(row.created_at).first:
        raise at("month", MonthBeforeOpening, Place.QUERY)
    from_us, to_us = month.bounds
    totals, found = await ledger.period(
        view, row.ledger_number, from_us, to_us, MAX_STATEMENT_LINES
    )
    return Statement(row, month, totals, found.items, found.has_more)


class AccountRef(NamedTuple):
    """What never changes of an account: its id as text, ledger number, owner and currency.

    ``account_number`` is None for the bank's own accounts.
    """

    id: str
    number: int
    owner: UUID | None
    currency: str
    account_number: str | None = None


async def bank_fact(view: View, asset: str, role: str) -> AccountRef:
    """One of the bank's own accounts; raises ``AccountNotFound`` before it is opened."""
    number = await ledger.bank_account(view, asset, role)
    if number is None:
        raise AccountNotFound()
    row = (await ledger.account_facts(view, [number]))[number]
    return AccountRef(str(row.public_id), number, None, asset)


async def payer_of(view: Reader, number: int) -> str:
    """The id of the account that a transfer was debited to."""
    row = await ledger.transfer(view, number)
    assert row is not None
    facts = await ledger.account_facts(view, [row.debit_account])
    return str(facts[row.debit_account].public_id)
