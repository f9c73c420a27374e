"""Reads of the ledger: balances now and at a time, lines, sums, transfers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from guilder.core.clock import day_of, day_start
from guilder.core.ids import NumberCipher
from guilder.core.page import Page, PageRequest, cursor_number, paginate
from guilder.core.text import search_words
from guilder.db.reader import Reader
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


async def last_booked_at(view: Reader) -> int | None:
    """The instant of the last booking, None before the first one."""
    head = await books.head_row(view)
    return head.clock_us if head.last_no else None


async def bank_now(view: Reader) -> int:
    """The bank's present time: the real one moved by the bank-wide test clock."""
    return view.now_us + (await books.head_row(view)).clock_offset_us


async def is_open(view: Reader, at_us: int) -> bool:
    """Whether an instant is over, and something may still be booked at or before it."""
    head = await books.head_row(view)
    now_us = view.now_us + head.clock_offset_us
    return max(head.clock_us, head.closed_us) < at_us <= now_us


async def number_cipher(view: View) -> NumberCipher:
    """What turns transfer numbers into public ids and back; the key never changes."""
    return NumberCipher(await books.id_key(view))


async def account_facts(view: Reader, numbers: Collection[int]) -> dict[int, LedgerAccountRow]:
    """Immutable facts by ledger number; unknown numbers are absent."""
    return await books.account_rows(view, numbers)


async def bank_account(view: View, asset: str, role: str) -> int | None:
    """The number of one of the bank's own accounts (see the chart), None before it is opened.

    Of those that go on in another, the last.
    """
    numbers = await books.bank_accounts(view, asset, role)
    return numbers[-1] if numbers else None


async def balances_of(view: Reader, numbers: Collection[int]) -> dict[int, Balance]:
    """Balances by ledger number; unknown numbers are absent. A hold whose time is over is none."""
    rows = await books.balance_rows(view, numbers)
    found = {number: _balance(row) for number, row in rows.items()}
    pending = [row.account_id for row in rows.values() if row.debits_pending or row.credits_pending]
    if pending:  # once more, together with their holds: one taken back meanwhile lapses no more
        for row, lapsed in await books.lapsing(view, pending, await bank_now(view)):
            found[row.account_id] = _balance(row, lapsed)
    return found


async def balance_at(view: Reader, number: int, at_us: int) -> int:
    """Credits minus debits posted on an account by an instant, inclusive, on the booking axis."""
    last = await history.number_booked_by(view, at_us + 1)
    return await history.balance_after(view, number, last)


async def balance_on(view: Reader, number: int, day: int) -> int:
    """Credits minus debits at the end of a value date, given in days since 1970.

    A transfer without a value date has that of its booking. Looks at everything known now.
    """
    until = await last_number(view)
    last = await history.number_booked_by(view, day_start(day + 1))
    booked = await history.balance_after(view, number, last)
    return booked + await history.value_dated(view, number, last, until, day)


class Period(NamedTuple):
    """A period of an account: its sums, and its first lines, oldest first."""

    totals: Totals
    lines: Page[LineRow]


async def period(view: Reader, number: int, from_us: int, to_us: int, most: int) -> Period:
    """What was booked on an account in ``from_us <= t < to_us``, ``most`` lines of it.

    What is booked while it is read has later numbers, and so nothing of it is in the answer.
    """
    until = await history.number_booked_by(view, to_us)  # first, as ``lines`` does
    before = await history.number_booked_by(view, from_us)
    page, numbers = PageRequest(most), (before, until, None)
    lines = await _lines(view, number, LineFilter(), page, numbers, oldest_first=True)
    if lines.has_more:
        starting = await history.balance_after(view, number, before)
        ending = await history.balance_after(view, number, until)
        credits, debits, count = await history.totals(view, number, before, until)
        return Period(Totals(starting, ending, credits, debits, count), lines)
    rows = lines.items
    if not rows:
        starting = ending = await history.balance_after(view, number, before)
    else:
        starting, ending = rows[0].balance_after - rows[0].delta, rows[-1].balance_after
    credits = sum(row.delta for row in rows if row.delta > 0)
    debits = sum(-row.delta for row in rows if row.delta < 0)
    return Period(Totals(starting, ending, credits, debits, len(rows)), lines)


async def lines(
    view: Reader,
    number: int,
    wanted: LineFilter,
    page: PageRequest,
    *,
    oldest_first: bool = False,
) -> Page[LineRow]:
    """A page of an account's posted lines, newest first unless told otherwise."""
    cursor = cursor_number(page)
    after = until = None
    # The end first: what is committed behind it may be of before the beginning.
    if wanted.to_us is not None:
        until = await history.number_booked_by(view, wanted.to_us)
    elif wanted.from_us is not None:
        until = await last_number(view)
    if wanted.from_us is not None:
        after = await history.number_booked_by(view, wanted.from_us)
    numbers = (after, until, cursor)
    return await _lines(view, number, wanted, page, numbers, oldest_first=oldest_first)


async def _lines(
    view: Reader,
    number: int,
    wanted: LineFilter,
    page: PageRequest,
    numbers: tuple[int | None, int | None, int | None],
    *,
    oldest_first: bool,
) -> Page[LineRow]:
    after, until, cursor = numbers
    least, most = wanted.min_amount, wanted.max_amount
    words = search_words(wanted.text or "")
    shape = history.LineShape(
        after is not None,
        until is not None,
        wanted.credit,
        least is not None,
        most is not None,
        len(words),
        cursor is not None,
        oldest_first,
    )
    rows = await history.lines(
        view,
        shape,
        words,
        account=number,
        after=after,
        until=until,
        least=least,
        most=most,
        cursor=cursor,
        count=page.limit + 1,
        skipped=page.offset,
    )
    return paginate(rows, page, lambda row: str(row.transfer_id))


async def transfer(view: Reader, number: int) -> TransferRow | None:
    """A transfer that moved money, None when that number has none."""
    row = (await history.transfer_rows(view, [number])).get(number)
    return row if row is not None and row.kind in POSTED_KINDS else None


async def transfers_of(
    view: Reader, numbers: Sequence[int], page: PageRequest, until: int
) -> Page[TransferRow]:
    """A page of the transfers up to ``until`` that touch any of the accounts, newest first."""
    cursor = cursor_number(page)
    before = until + 1 if cursor is None else cursor
    wanted = page.limit + 1 + page.offset
    found = await history.newest_numbers(view, numbers, before, wanted)
    rows = await history.transfer_rows(view, found[page.offset :])
    ordered = sorted(rows.values(), key=lambda row: -row.id)
    return paginate(ordered, page, lambda row: str(row.id))


async def balances_after(
    view: Reader, pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], int]:
    """Credits minus debits after each (account, transfer) pair."""
    return await history.balances_after(view, pairs)


async def due_holds(view: View, count: int = 500) -> list[int]:
    """Numbers of open holds that have expired by the bank's time."""
    return await books.due_holds(view, await bank_now(view), count)


def value_day(row: TransferRow | LineRow) -> int:
    """The value date of a transfer in days since 1970: its own, or that of its booking."""
    return row.value_on if row.value_on is not None else day_of(row.booked_at)


async def last_number(view: Reader) -> int:
    """The number of the last transfer, 0 before the first one."""
    return (await books.head_row(view)).last_no


def _balance(row: BalanceRow, lapsed: tuple[int, int] = (0, 0)) -> Balance:
    posted = (row.credits - row.debits) * row.normal
    out, into = row.debits_pending - lapsed[0], row.credits_pending - lapsed[1]
    held = out if row.normal > 0 else into
    return Balance(posted, held, posted - held, row.version, row.flags, row.asset, row.floor)
