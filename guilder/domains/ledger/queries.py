"""Reads of the ledger: balances now and at a time, lines, sums, transfers."""

from collections.abc import Sequence
from dataclasses import dataclass

from guilder.core.clock import day_of, day_start
from guilder.core.ids import NumberCipher
from guilder.core.page import Page, PageRequest, cursor_number, paginate
from guilder.core.text import search_words
from guilder.db.unit_of_work import View
from guilder.domains.ledger.repository import books, history
from guilder.domains.ledger.repository.history import LineRow
from guilder.domains.ledger.rules.rows import BalanceRow, LedgerAccountRow, TransferRow
from guilder.domains.ledger.rules.state import POSTED_KINDS

__all__ = [
    "Balance",
    "BalanceRow",
    "LedgerAccountRow",
    "LineFilter",
    "LineRow",
    "Totals",
    "TransferRow",
]


@dataclass(frozen=True, slots=True)
class Balance:
    """Natural balances of an account in minor units, and its state."""

    posted: int
    held: int
    available: int
    version: int
    flags: int
    asset: str
    floor: int | None


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines: instants bound ``booked_at`` (from inclusive, to exclusive), ``credit`` a side.

    ``text`` looks in description and reference for every word of it, without regard to case, and to
    marks in words without any.
    """

    from_us: int | None = None
    to_us: int | None = None
    credit: bool | None = None
    min_amount: int | None = None
    max_amount: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """A period of an account: starting + credits - debits = ending, credit-normal minor units."""

    starting: int
    ending: int
    credits: int
    debits: int
    count: int


async def last_booked_at(view: View) -> int | None:
    """The instant of the last booking, None before the first one."""
    head = await books.head_row(view)
    return head.clock_us if head.last_no else None


async def bank_now(view: View) -> int:
    """The bank's present time: the real one moved by the bank-wide test clock."""
    return view.now_us + (await books.head_row(view)).clock_offset_us


async def is_open(view: View, at_us: int) -> bool:
    """Whether an instant is over, and something may still be booked at or before it."""
    head = await books.head_row(view)
    now_us = view.now_us + head.clock_offset_us
    return max(head.clock_us, head.closed_us) < at_us <= now_us


async def number_cipher(view: View) -> NumberCipher:
    """What turns transfer numbers into public ids and back; the key never changes."""
    return NumberCipher(await books.id_key(view))


async def account_facts(view: View, numbers: Sequence[int]) -> dict[int, LedgerAccountRow]:
    """Immutable facts by ledger number; unknown numbers are absent."""
    return await books.account_rows(view, numbers)


async def bank_account(view: View, asset: str, role: str) -> int | None:
    """The number of one of the bank's own accounts (see the chart), None before it is opened.

    Of those that go on in another, the last.
    """
    numbers = await books.bank_accounts(view, asset, role)
    return numbers[-1] if numbers else None


async def balances_of(view: View, numbers: Sequence[int]) -> dict[int, Balance]:
    """Balances by ledger number; unknown numbers are absent. A hold whose time is over is none."""
    rows = await books.balance_rows(view, numbers)
    pending = [row.account_id for row in rows.values() if row.debits_pending or row.credits_pending]
    lapsed = await books.lapsed(view, pending, await bank_now(view)) if pending else {}
    return {number: _balance(row, lapsed.get(number, (0, 0))) for number, row in rows.items()}


async def balance_at(view: View, number: int, at_us: int) -> int:
    """Credits minus debits posted on an account by an instant, inclusive, on the booking axis."""
    last = await history.number_booked_by(view, at_us + 1)
    return await history.balance_after(view, number, last)


async def balance_on(view: View, number: int, day: int) -> int:
    """Credits minus debits at the end of a value date, given in days since 1970.

    A transfer without a value date has that of its booking. Looks at everything known now.
    """
    last = await history.number_booked_by(view, day_start(day + 1))
    booked = await history.balance_after(view, number, last)
    return booked + await history.value_dated(view, number, last, day)


async def totals(view: View, number: int, from_us: int, to_us: int) -> Totals:
    """Sums of an account's postings booked in ``from_us <= t < to_us``."""
    before = await history.number_booked_by(view, from_us)
    until = await history.number_booked_by(view, to_us)
    starting = await history.balance_after(view, number, before)
    ending = await history.balance_after(view, number, until)
    credits, debits, count = await history.totals(view, number, before, until)
    return Totals(starting, ending, credits, debits, count)


async def lines(
    view: View,
    number: int,
    wanted: LineFilter,
    page: PageRequest,
    *,
    oldest_first: bool = False,
) -> Page[LineRow]:
    """A page of an account's posted lines, newest first unless told otherwise."""
    after = cursor_number(page)
    from_no = to_no = None
    if wanted.from_us is not None:
        from_no = await history.number_booked_by(view, wanted.from_us)
    if wanted.to_us is not None:
        to_no = await history.number_booked_by(view, wanted.to_us)
    statement = history.filtered_lines(
        number,
        wanted.credit,
        (wanted.min_amount, wanted.max_amount),
        search_words(wanted.text or ""),
        (from_no, to_no),
    )
    rows = await history.line_rows(
        view, history.paged(statement, after, page.limit + 1, page.offset, oldest_first)
    )
    return paginate(rows, page, lambda row: str(row.transfer.id))


async def transfer(view: View, number: int) -> TransferRow | None:
    """A transfer that moved money, None when that number has none."""
    row = (await history.transfer_rows(view, [number])).get(number)
    return row if row is not None and row.kind in POSTED_KINDS else None


async def transfers_of(view: View, numbers: Sequence[int], page: PageRequest) -> Page[TransferRow]:
    """A page of the transfers that touch any of the accounts, newest first."""
    after = cursor_number(page)
    wanted = page.limit + 1 + page.offset
    found = await history.newest_numbers(view, numbers, after, wanted)
    rows = await history.transfer_rows(view, found[page.offset :])
    ordered = sorted(rows.values(), key=lambda row: -row.id)
    return paginate(ordered, page, lambda row: str(row.id))


async def balances_after(
    view: View, pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], int]:
    """Credits minus debits after each (account, transfer) pair."""
    return await history.balances_after(view, pairs)


async def due_holds(view: View, count: int = 500) -> list[int]:
    """Numbers of open holds that have expired by the bank's time."""
    return await books.due_holds(view, await bank_now(view), count)


def value_day(row: TransferRow) -> int:
    """The value date of a transfer in days since 1970: its own, or that of its booking."""
    return row.value_on if row.value_on is not None else day_of(row.booked_at)


def _balance(row: BalanceRow, lapsed: tuple[int, int]) -> Balance:
    posted = (row.credits - row.debits) * row.normal
    out, into = row.debits_pending - lapsed[0], row.credits_pending - lapsed[1]
    held = out if row.normal > 0 else into
    return Balance(posted, held, posted - held, row.version, row.flags, row.asset, row.floor)
