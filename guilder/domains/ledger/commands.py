"""Writes of the ledger inside a unit of work: accounts, bounds, freezes, limits, the bank's clock.

Everything that bears on what a posting may do locks the head first, so it is ordered with every
batch of every process. ``post`` is the door for commands that change other rows with the books.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Final
from uuid import UUID

from guilder.core.clock import Clock, from_datetime
from guilder.core.errors import Invalid
from guilder.core.ids import uuid7
from guilder.core.money import MAX_AMOUNT, MAX_BOOK, exponent_of
from guilder.db.calls import Asked
from guilder.db.engine import RetryTransaction
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.ledger.engine import Posted, post_batch, run_sync
from guilder.domains.ledger.errors import AccountNotFound, BalanceNotZero, ClockBackwards
from guilder.domains.ledger.ports import NotCommitted
from guilder.domains.ledger.repository import books
from guilder.domains.ledger.rules.rows import BalanceRow, bank_code
from guilder.domains.ledger.rules.state import AccountFlag, Unit, UnitResult
from guilder.domains.ledger.rules.windows import PERIODS
from guilder.domains.ledger.store.postgres import PostgresBooks
from guilder.domains.ledger.store.sqlite import SqliteBooks


class Category(StrEnum):
    """The five kinds of account; assets and expenses are debit-normal, the others credit-normal."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense"

    @property
    def normal(self) -> int:
        """1 when credits raise the balance, -1 when debits do."""
        return -1 if self in (Category.ASSET, Category.EXPENSE) else 1


@dataclass(frozen=True, slots=True)
class Opened:
    """A new ledger account: its number inside and its id outside."""

    number: int
    public_id: UUID


@dataclass(frozen=True, slots=True)
class OpenLedgerAccount:
    """Open an account of one asset. ``floor`` and ``ceiling`` are natural balances, None unbounded.

    ``code`` names the bank's own accounts and is unique. ``public_id`` None is a fresh one.
    """

    action: ClassVar[str] = "ledger.open_account"
    asset: str
    category: Category
    name: str
    opened_at: int
    code: str | None = None
    floor: int | None = 0
    ceiling: int | None = None
    public_id: UUID | None = None


async def open_ledger_account(uow: UnitOfWork, cmd: OpenLedgerAccount) -> Opened:
    """Insert the account and its zero balance. Raises ``UnknownCurrency``.

    Nothing is ever booked before ``opened_at``, whatever the clock of the process that books.
    """
    (opened,) = await insert_ledger_accounts([Asked(uow, cmd)])
    await close_before(uow, cmd.opened_at)
    return opened


async def insert_ledger_accounts(asked: Sequence[Asked[OpenLedgerAccount]]) -> list[Opened]:
    """Insert accounts and their zero balances. Raises ``UnknownCurrency``.

    As the last of all ``close_before`` is to see to it that nothing is booked before they are open.
    """
    new = []
    for uow, cmd in asked:
        exponent_of(cmd.asset)
        account = {
            "public_id": cmd.public_id or uuid7(cmd.opened_at),
            "code": cmd.code,
            "asset": cmd.asset,
            "category": cmd.category.value,
            "name": cmd.name,
            "opened_at": cmd.opened_at,
        }
        balance = {"normal": cmd.category.normal, "floor": cmd.floor, "ceiling": cmd.ceiling}
        new.append((uow, books.NewAccount(account, balance)))
    numbers = await books.insert_ledger_accounts(new)
    ids = [one.account["public_id"] for _, one in new]
    return [Opened(*one) for one in zip(numbers, ids, strict=True)]


async def close_before(uow: UnitOfWork, at_us: int) -> None:
    """Let nothing be booked before an instant of this transaction; locks the ledger's head.

    Raises ``RetryTransaction`` when the bank's clock was set back behind it meanwhile.
    """
    if at_us > uow.now_us + await books.close_until(uow, at_us - 1):
        raise RetryTransaction("the bank's clock was set back")


CHART: Final[dict[str, tuple[Category, str]]] = {
    "settlement": (Category.ASSET, "Cash and settlement"),
    "suspense": (Category.LIABILITY, "Suspense"),
    "fees": (Category.INCOME, "Fees earned"),
    "interest": (Category.EXPENSE, "Interest paid"),
    "exchange": (Category.EQUITY, "Exchange position"),
    "equity": (Category.EQUITY, "Equity"),
}
"""The bank's own accounts, one of each per asset, with the code ``<asset>.<role>``. One that is
full goes on in another, ``<asset>.<role>.2`` and so on."""


@dataclass(frozen=True, slots=True)
class EnsureBankAccounts:
    """Open the bank's own accounts of an asset where they are missing."""

    action: ClassVar[str] = "ledger.ensure_bank_accounts"
    asset: str
    opened_at: int


async def has_bank_accounts(uow: UnitOfWork, assets: Collection[str]) -> bool:
    """Whether all of the bank's own accounts of some assets are open."""
    codes = [bank_code(asset, role) for asset in assets for role in CHART]
    return len(await books.numbers_by_code(uow, codes)) == len(codes)


async def ensure_bank_accounts(uow: UnitOfWork, cmd: EnsureBankAccounts) -> dict[str, int]:
    """The number of the first account of each role of the chart; the same answer every time."""
    codes = {bank_code(cmd.asset, role): role for role in CHART}
    found = await books.numbers_by_code(uow, list(codes))
    if len(found) < len(codes):
        await lock_head(uow)
        found = await books.numbers_by_code(uow, list(codes))
    for code, role in codes.items():
        if code not in found:
            category, name = CHART[role]
            opened = await open_ledger_account(
                uow,
                OpenLedgerAccount(
                    cmd.asset, category, f"{name} {cmd.asset}", cmd.opened_at, code, floor=None
                ),
            )
            found[code] = opened.number
    return {role: found[code] for code, role in codes.items()}


@dataclass(frozen=True, slots=True)
class ContinueBankAccount:
    """Open the account in which one of the bank's own goes on, when that is full."""

    action: ClassVar[str] = "ledger.continue_bank_account"
    asset: str
    role: str


async def continue_bank_account(uow: UnitOfWork, cmd: ContinueBankAccount) -> int:
    """The number of the account to book on; a new one when the last has no room for any amount."""
    head = await lock_head(uow)
    numbers = await books.bank_accounts(uow, cmd.asset, cmd.role)
    last = await _locked_balance(uow, numbers[-1])
    counted = max(last.debits + last.debits_pending, last.credits + last.credits_pending)
    if counted <= MAX_BOOK - MAX_AMOUNT:
        return numbers[-1]
    category, name = CHART[cmd.role]
    opened = await open_ledger_account(
        uow,
        OpenLedgerAccount(
            cmd.asset,
            category,
            f"{name} {cmd.asset}",
            uow.now_us + head.clock_offset_us,
            bank_code(cmd.asset, cmd.role, len(numbers) + 1),
            floor=None,
        ),
    )
    return opened.number


@dataclass(frozen=True, slots=True)
class SetFlags:
    """Freeze or thaw: ``add`` and ``remove`` are state bits of the account."""

    action: ClassVar[str] = "ledger.set_flags"
    number: int
    add: int = 0
    remove: int = 0


async def set_flags(uow: UnitOfWork, cmd: SetFlags) -> None:
    """Change state bits, ordered with every posting."""
    balance = await _locked_balance(uow, cmd.number)
    flags = (balance.flags | cmd.add) & ~cmd.remove
    await books.update_balance(uow, cmd.number, {"flags": int(flags)})


@dataclass(frozen=True, slots=True)
class SetBounds:
    """Set the floor (minus the overdraft) and the ceiling of an account, None for none."""

    action: ClassVar[str] = "ledger.set_bounds"
    number: int
    floor: int | None
    ceiling: int | None


async def set_bounds(uow: UnitOfWork, cmd: SetBounds) -> None:
    """Change the bounds; they bind the next posting, not the balance as it stands."""
    await _locked_balance(uow, cmd.number)
    await books.update_balance(uow, cmd.number, {"floor": cmd.floor, "ceiling": cmd.ceiling})


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Bound what leaves an account per ``period``: transaction, day, week or month.

    Both bounds None takes the limit away. What was used in the window stays counted.
    """

    action: ClassVar[str] = "ledger.set_limit"
    number: int
    period: str
    max_amount: int | None = None
    max_count: int | None = None


async def set_limit(uow: UnitOfWork, cmd: SetLimit) -> None:
    """Set, change or remove a limit, ordered with every posting.

    Raises ``Invalid`` for an unknown period.
    """
    if cmd.period not in PERIODS:
        raise Invalid("A limit's period is transaction, day, week or month.")
    balance = await _locked_balance(uow, cmd.number)
    left = await books.set_limit(uow, cmd.number, cmd.period, cmd.max_amount, cmd.max_count)
    flags = (
        AccountFlag(balance.flags) | AccountFlag.LIMITED
        if left
        else AccountFlag(balance.flags) & ~AccountFlag.LIMITED
    )
    await books.update_balance(uow, cmd.number, {"flags": int(flags)})


@dataclass(frozen=True, slots=True)
class CloseLedgerAccount:
    """Close an account for good: nothing is booked on it any more."""

    action: ClassVar[str] = "ledger.close_account"
    number: int


async def close_ledger_account(uow: UnitOfWork, cmd: CloseLedgerAccount) -> None:
    """Close it.

    Raises ``BalanceNotZero`` while money is on the account or held, or ``AccountNotFound``.
    """
    head = await lock_head(uow)
    found = await books.lapsing(uow, [cmd.number], uow.now_us + head.clock_offset_us)
    if not found:
        raise AccountNotFound()
    ((b, lapsed),) = found
    if b.debits != b.credits or (b.debits_pending, b.credits_pending) != lapsed:
        raise BalanceNotZero()
    await books.update_balance(uow, cmd.number, {"flags": int(b.flags | AccountFlag.CLOSED)})


LAST_INSTANT: Final = from_datetime(datetime(9000, 1, 1, tzinfo=UTC))
"""Later than that no clock is set: calendars end in the year 9999."""


@dataclass(frozen=True, slots=True)
class SetBankClock:
    """Set the bank-wide test clock to an instant, or move it on; it goes on from there."""

    action: ClassVar[str] = "ledger.set_clock"
    now_us: int | None = None
    advance_us: int = 0


async def set_bank_clock(uow: UnitOfWork, cmd: SetBankClock) -> int:
    """Move the bank's time; returns the new time, in microseconds since 1970.

    Raises ``ClockBackwards`` once an account is open, ``Invalid`` outside 1970 to 9000.
    """
    head = await lock_head(uow)
    before = uow.now_us + head.clock_offset_us
    wanted = before + cmd.advance_us if cmd.now_us is None else cmd.now_us
    if not 0 <= wanted < LAST_INSTANT:
        raise Invalid("The clock cannot be set to such an instant.")
    backwards = wanted < max(before, head.clock_us, head.closed_us)
    if backwards and await books.has_accounts(uow):
        raise ClockBackwards()
    await books.update_head(uow, {"clock_offset_us": wanted - uow.now_us})
    return wanted


async def post(uow: UnitOfWork, clock: Clock, units: list[Unit]) -> list[UnitResult]:
    """Post units inside the caller's transaction; call it last, for it locks every poster out.

    Raises ``RetryTransaction`` when the whole transaction must be run again.
    """
    try:
        return (await _post(uow, clock, units)).results
    except NotCommitted as error:
        raise RetryTransaction(str(error)) from error


async def _post(uow: UnitOfWork, clock: Clock, units: list[Unit]) -> Posted:
    if uow.dialect == "postgresql":
        raw = await uow.connection.get_raw_connection()
        return await post_batch(PostgresBooks(raw.driver_connection), units, clock)
    return await uow.connection.run_sync(
        lambda connection: run_sync(
            post_batch(SqliteBooks(connection.connection.cursor()), units, clock)
        )
    )


async def lock_head(uow: UnitOfWork) -> books.HeadRow:
    """Take the lock that orders this transaction with every batch."""
    return await books.lock_head(uow)


async def _locked_balance(uow: UnitOfWork, number: int) -> BalanceRow:
    await lock_head(uow)
    row = await books.balance_row(uow, number)
    if row is None:
        raise AccountNotFound()
    return row
