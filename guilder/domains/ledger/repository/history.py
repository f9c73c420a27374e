"""History: lines, transfers, sums, and which number an instant falls on."""

from collections.abc import Sequence
from itertools import batched
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, select, union_all

from guilder.db.unit_of_work import View
from guilder.domains.ledger.models import (
    batches,
    entries,
    search,
    transfers,
)
from guilder.domains.ledger.rules.rows import TransferRow

ACCOUNTS_A_STATEMENT: Final = 100
"""Both engines bound the parts and the parameters of one statement."""


_HALF: Final = 1 << 32
"""Sums are taken of upper and lower halves: SQLite's overflow at 2^63."""


class LineRow(NamedTuple):
    """An account's side of a transfer: the entry and the transfer's facts."""

    delta: int
    balance_after: int
    version: int
    transfer: TransferRow


_OF_ENTRY: Final = LineRow._fields[:-1]


async def number_booked_by(view: View, before_us: int) -> int:
    """The last transfer booked before an instant, 0 when there is none.

    The batch is found by its index, the transfer inside it by number.
    """
    batch = await view.first(
        select(batches.c.first_no, batches.c.last_no)
        .where(batches.c.first_booked_at < before_us)
        .order_by(batches.c.first_booked_at.desc())
        .limit(1)
    )
    if batch is None:
        return 0
    c = transfers.c
    number: int = await view.scalar(
        select(func.max(c.id)).where(
            c.id.between(batch.first_no, batch.last_no), c.booked_at < before_us
        )
    )
    return number


async def balance_after(view: View, account: int, number: int) -> int:
    """Credits minus debits of an account after transfer ``number``, 0 before its first entry."""
    c = entries.c
    found: int | None = await view.scalar(
        select(c.balance_after)
        .where(c.account_id == account, c.transfer_id <= number)
        .order_by(c.transfer_id.desc())
        .limit(1)
    )
    return found or 0


async def value_dated(view: View, account: int, number: int, day: int) -> int:
    """What value dates move across the end of ``day``: added to the balance booked by then.

    Entries booked later with a value date by then count, entries booked by then with a later
    value date do not. Only entries with a value date of their own are looked at.
    """
    c = entries.c
    late = and_(c.transfer_id > number, c.value_on <= day)
    early = and_(c.transfer_id <= number, c.value_on > day)
    moved = case((late, c.delta), (early, -c.delta), else_=0)
    row = await view.first(
        select(*_sum(moved)).where(c.account_id == account, c.value_on.is_not(None))
    )
    assert row is not None
    return _whole(*row)


def _sum(number: ColumnElement[int]) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """A sum in two halves; ``_whole`` is the sum. No sum of halves comes near 2^63."""
    upper, lower = func.sum(number // _HALF), func.sum(number % _HALF)
    return func.coalesce(upper, 0), func.coalesce(lower, 0)


def _whole(upper: int, lower: int) -> int:
    return int(upper) * _HALF + int(lower)


def lines(account: int) -> Select[Any]:
    """An account's lines with their transfers; without holds and releases, which move nothing."""
    return (
        select(*[entries.c[name] for name in _OF_ENTRY], *transfers.c)
        .join(transfers, transfers.c.id == entries.c.transfer_id)
        .where(entries.c.account_id == account, entries.c.delta != 0)
    )


def filtered_lines(
    account: int,
    credit: bool | None,
    amounts: tuple[int | None, int | None],
    words: Sequence[str],
    numbers: tuple[int | None, int | None],
) -> Select[Any]:
    """``lines`` narrowed by side, amount, words and a range of transfer numbers (after, until).

    Every one of the ``words`` (``guilder.core.text.search_words``) has to be there.
    """
    statement = lines(account)
    after, until = numbers
    if after is not None:
        statement = statement.where(entries.c.transfer_id > after)
    if until is not None:
        statement = statement.where(entries.c.transfer_id <= until)
    if credit is not None:
        statement = statement.where(entries.c.delta > 0 if credit else entries.c.delta < 0)
    if amounts[0] is not None:
        statement = statement.where(transfers.c.amount >= amounts[0])
    if amounts[1] is not None:
        statement = statement.where(transfers.c.amount <= amounts[1])
    if words:
        statement = statement.join(search, search.c.transfer_id == transfers.c.id)
        for word in words:
            statement = statement.where(search.c.folded.contains(word, autoescape=True))
    return statement


def paged(
    statement: Select[Any], after: int | None, count: int, offset: int, oldest_first: bool
) -> Select[Any]:
    """One page of a statement made from ``lines``, on from the transfer number ``after``."""
    c = entries.c.transfer_id
    if after is not None:
        statement = statement.where(c > after if oldest_first else c < after)
    order = c.asc() if oldest_first else c.desc()
    return statement.order_by(order).limit(count).offset(offset)


async def line_rows(view: View, statement: Select[Any]) -> list[LineRow]:
    """Run a statement made from ``lines``."""
    return [
        LineRow(row[0], row[1], row[2], TransferRow(*row[3:])) for row in await view.all(statement)
    ]


async def totals(view: View, account: int, after: int, until: int) -> tuple[int, int, int]:
    """Credits, debits and number of lines of an account in transfers ``after < n <= until``."""
    c = entries.c
    row = await view.first(
        select(
            *_sum(case((c.delta > 0, c.delta), else_=0)),
            *_sum(case((c.delta < 0, -c.delta), else_=0)),
            func.count(),
        ).where(
            c.account_id == account,
            c.transfer_id > after,
            c.transfer_id <= until,
            c.delta != 0,
        )
    )
    assert row is not None
    return _whole(row[0], row[1]), _whole(row[2], row[3]), int(row[4])


async def transfer_rows(view: View, numbers: Sequence[int]) -> dict[int, TransferRow]:
    """Transfers by number."""
    rows = await view.all(select(transfers).where(transfers.c.id.in_(numbers)))
    return {row.id: TransferRow(*row) for row in rows}


async def newest_numbers(
    view: View, account_numbers: Sequence[int], before: int | None, count: int
) -> list[int]:
    """The newest transfers that touch any of the accounts, each account read through its key."""
    found: set[int] = set()
    for some in batched(account_numbers, ACCOUNTS_A_STATEMENT):
        every = union_all(*[_newest_of(number, before, count) for number in some])
        found.update(row.transfer_id for row in await view.all(every))
    return sorted(found, reverse=True)[:count]


def _newest_of(account: int, before: int | None, count: int) -> Select[Any]:
    c = entries.c
    newest = select(c.transfer_id).where(c.account_id == account, c.delta != 0)
    if before is not None:
        newest = newest.where(c.transfer_id < before)
    newest = newest.order_by(c.transfer_id.desc()).limit(count)
    return select(newest.subquery().c.transfer_id)


async def balances_after(
    view: View, pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], int]:
    """``balance_after`` of (account, transfer) pairs."""
    if not pairs:
        return {}
    c = entries.c
    rows = await view.all(
        select(c.account_id, c.transfer_id, c.balance_after).where(
            c.transfer_id.in_({number for _, number in pairs}),
            c.account_id.in_({account for account, _ in pairs}),
        )
    )
    return {(row.account_id, row.transfer_id): row.balance_after for row in rows}
