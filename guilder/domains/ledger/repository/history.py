"""History: lines, transfers, sums, and which number an instant falls on."""

from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from itertools import batched
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    select,
    union_all,
)

from guilder.db.base import Big
from guilder.db.prepared import ANY_KEY, Keyed, Prepared, padded
from guilder.db.reader import Reader
from guilder.domains.ledger.models import (
    batches,
    entries,
    search,
    transfers,
)
from guilder.domains.ledger.rules.rows import TransferRow

PARTS_A_STATEMENT: Final = 64
"""Both engines bound the parts and the parameters of one statement."""


_HALF: Final = 1 << 32
"""Sums are taken of upper and lower halves: SQLite's overflow at 2^63."""


class LineRow(NamedTuple):
    """An account's side of a transfer: of the entry, and of the transfer's facts."""

    delta: int
    balance_after: int
    transfer_id: int
    kind: int
    debit_account: int
    credit_account: int
    amount: int
    booked_at: int
    asset: str
    value_on: int | None
    description: str | None
    reference: str | None


_OF_ENTRY: Final = ("delta", "balance_after", "transfer_id")


def _number_booked_by() -> Select[Any]:
    """The batch is found by its index, the transfer inside it by number."""
    before, c = bindparam("before", type_=Big), transfers.c
    batch = (
        select(batches.c.first_no, batches.c.last_no)
        .where(batches.c.first_booked_at < before)
        .order_by(batches.c.first_booked_at.desc())
        .limit(1)
        .subquery()
    )
    inside = c.id.between(batch.c.first_no, batch.c.last_no), c.booked_at < before
    return select(select(func.max(c.id)).where(*inside).scalar_subquery()).select_from(batch)


_NUMBER_BOOKED_BY: Final = Prepared(_number_booked_by(), itemgetter(0))


async def number_booked_by(view: Reader, before_us: int) -> int:
    """The last transfer booked before an instant, 0 when there is none."""
    number: int | None = await view.row(_NUMBER_BOOKED_BY, before=before_us)
    return number or 0


_ACCOUNT: Final[ColumnElement[bool]] = entries.c.account_id == bindparam("account")
_UNTIL: Final[ColumnElement[bool]] = entries.c.transfer_id <= bindparam("until")
_BALANCE_AFTER: Final = Prepared(
    select(entries.c.balance_after)
    .where(_ACCOUNT, _UNTIL)
    .order_by(entries.c.transfer_id.desc())
    .limit(1),
    itemgetter(0),
)


async def balance_after(view: Reader, account: int, number: int) -> int:
    """Credits minus debits of an account after transfer ``number``, 0 before its first entry."""
    found: int | None = await view.row(_BALANCE_AFTER, account=account, until=number)
    return found or 0


def _sum(number: ColumnElement[int]) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """A sum in two halves; ``_whole`` is the sum. No sum of halves comes near 2^63."""
    upper, lower = func.sum(number // _HALF), func.sum(number % _HALF)
    return func.coalesce(upper, 0), func.coalesce(lower, 0)


def _whole(upper: int, lower: int) -> int:
    return int(upper) * _HALF + int(lower)


def _value_dated() -> Select[*tuple[Any, ...]]:
    c, number, day = entries.c, bindparam("number", type_=Big), bindparam("day", type_=Integer)
    late = and_(c.transfer_id > number, c.value_on <= day)
    early = and_(c.transfer_id <= number, c.value_on > day)
    moved = case((late, c.delta), (early, -c.delta), else_=0)
    return select(*_sum(moved)).where(_ACCOUNT, _UNTIL, c.value_on.is_not(None))


_VALUE_DATED: Final = Prepared(_value_dated(), tuple, scans=True)


async def value_dated(view: Reader, account: int, number: int, until: int, day: int) -> int:
    """What value dates move across the end of ``day``: added to the balance booked by then.

    ``number`` is the last transfer booked by then, ``until`` the last that is looked at.
    Entries booked later with a value date by then count, entries booked by then with a later
    value date do not. Only entries with a value date of their own are looked at.
    """
    row = await view.row(_VALUE_DATED, account=account, number=number, until=until, day=day)
    assert row is not None
    return _whole(*row)


KEPT_SHAPES: Final = 256
"""Each is some 60 KiB, and there are twenty times as many: words alone may be 50."""


class LineShape(NamedTuple):
    """What a page of lines is narrowed by, and its order; ``words`` are counted.

    Each is a parameter of the statement by its name, words are ``word0`` and so on.
    """

    after: bool
    until: bool
    credit: bool | None
    least: bool
    most: bool
    words: int
    cursor: bool
    oldest_first: bool


@lru_cache(KEPT_SHAPES)
def _lines(shape: LineShape) -> Prepared[LineRow]:
    """Lines with their transfers; without holds and releases, which move nothing."""
    e, t = entries.c, transfers.c
    columns = [e[name] if name in _OF_ENTRY else t[name] for name in LineRow._fields]
    statement = select(*columns).join(transfers, t.id == e.transfer_id).where(_ACCOUNT)
    if shape.credit is None:
        statement = statement.where(e.delta != 0)
    else:
        statement = statement.where(e.delta > 0 if shape.credit else e.delta < 0)
    if shape.after:
        statement = statement.where(e.transfer_id > bindparam("after"))
    if shape.until:
        statement = statement.where(_UNTIL)
    if shape.least:
        statement = statement.where(t.amount >= bindparam("least"))
    if shape.most:
        statement = statement.where(t.amount <= bindparam("most"))
    if shape.words:
        statement = statement.join(search, search.c.transfer_id == t.id)
        for place in range(shape.words):
            statement = statement.where(search.c.folded.like(bindparam(f"word{place}"), escape="/"))
    if shape.cursor:
        going_on = bindparam("cursor", type_=Big)
        statement = statement.where(
            e.transfer_id > going_on if shape.oldest_first else e.transfer_id < going_on
        )
    order = e.transfer_id.asc() if shape.oldest_first else e.transfer_id.desc()
    paged = statement.order_by(order).limit(bindparam("count")).offset(bindparam("skipped"))
    narrowed = shape.credit is not None or shape.least or shape.most or shape.words > 0
    return Prepared(paged, LineRow._make, scans=narrowed)


async def lines(
    view: Reader, shape: LineShape, words: Sequence[str], **values: int | None
) -> list[LineRow]:
    """Lines of a shape; every one of the ``words`` (``search_words``) has to be there."""
    patterns = {f"word{place}": _containing(word) for place, word in enumerate(words)}
    return await view.rows(_lines(shape), **values, **patterns)


def _containing(word: str) -> str:
    escaped = word.replace("/", "//").replace("%", "/%").replace("_", "/_")
    return f"%{escaped}%"


def _totals() -> Select[*tuple[Any, ...]]:
    c = entries.c
    return select(
        *_sum(case((c.delta > 0, c.delta), else_=0)),
        *_sum(case((c.delta < 0, -c.delta), else_=0)),
        func.count(),
    ).where(_ACCOUNT, c.transfer_id > bindparam("after"), _UNTIL, c.delta != 0)


_TOTALS: Final = Prepared(_totals(), tuple, scans=True)


async def totals(view: Reader, account: int, after: int, until: int) -> tuple[int, int, int]:
    """Credits, debits and number of lines of an account in transfers ``after < n <= until``."""
    row = await view.row(_TOTALS, account=account, after=after, until=until)
    assert row is not None
    return _whole(row[0], row[1]), _whole(row[2], row[3]), int(row[4])


_TRANSFERS: Final = Keyed(
    select(transfers).where(transfers.c.id.in_(ANY_KEY)), TransferRow._make, attrgetter("id")
)


async def transfer_rows(view: Reader, numbers: Collection[int]) -> dict[int, TransferRow]:
    """Transfers by number."""
    return await view.keyed(_TRANSFERS, numbers)


@cache
def _newest(accounts: int) -> Prepared[int]:
    """The newest transfers of so many accounts, each read through its key."""
    c, parts = entries.c, []
    for place in range(accounts):
        newest = select(c.transfer_id).where(c.account_id == bindparam(f"a{place}"), c.delta != 0)
        newest = newest.where(c.transfer_id < bindparam("before"))
        newest = newest.order_by(c.transfer_id.desc()).limit(bindparam("count"))
        parts.append(select(newest.subquery().c.transfer_id))
    every = union_all(*parts).subquery()
    return Prepared(select(every.c.transfer_id), itemgetter(0))


async def newest_numbers(
    view: Reader, account_numbers: Sequence[int], before: int, count: int
) -> list[int]:
    """The newest transfers of numbers under ``before`` that touch any of the accounts."""
    found: set[int] = set()
    for some in batched(account_numbers, PARTS_A_STATEMENT):
        named = {f"a{place}": number for place, number in enumerate(padded(some))}
        statement = _newest(len(named))
        found.update(await view.rows(statement, **named, before=before, count=count))
    return sorted(found, reverse=True)[:count]


@cache
def _balances(pairs: int) -> Prepared[tuple[int, int, int]]:
    c = entries.c
    parts = [
        select(c.account_id, c.transfer_id, c.balance_after).where(
            c.account_id == bindparam(f"a{place}"), c.transfer_id == bindparam(f"t{place}")
        )
        for place in range(pairs)
    ]
    every = union_all(*parts).subquery()
    return Prepared(select(every), tuple)


async def balances_after(
    view: Reader, pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], int]:
    """Credits minus debits after each (account, transfer) pair."""
    found: dict[tuple[int, int], int] = {}
    for some in batched(pairs, PARTS_A_STATEMENT):
        named: dict[str, int] = {}
        for place, (account, transfer) in enumerate(padded(some)):
            named |= {f"a{place}": account, f"t{place}": transfer}
        rows = await view.rows(_balances(len(named) // 2), **named)
        found.update(((account, transfer), balance) for account, transfer, balance in rows)
    return found
