"""Accounts, balances, bounds, limits, holds and the head."""

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    union_all,
)

from guilder.db.base import Big
from guilder.db.prepared import ANY_KEY, Keyed, Prepared
from guilder.db.reader import Reader
from guilder.db.unit_of_work import UnitOfWork, View, insert_for_each
from guilder.domains.ledger.models import (
    balances,
    head,
    holds,
    ledger_accounts,
    limits,
    transfers,
)
from guilder.domains.ledger.rules.rows import BalanceRow, LedgerAccountRow, bank_code
from guilder.domains.ledger.rules.state import COUNTERS, USED


class HeadRow(NamedTuple):
    """The head's columns that others than the engine look at."""

    last_no: int
    clock_us: int
    closed_us: int
    clock_offset_us: int


_HEAD = select(*[head.c[name] for name in HeadRow._fields]).where(head.c.lane == 0)


async def lock_head(uow: UnitOfWork) -> HeadRow:
    """The head, locked until the transaction ends."""
    row = await uow.first(_HEAD.with_for_update())
    assert row is not None
    return HeadRow(*row)


_CLOSE = (
    head.update()
    .where(head.c.lane == 0)
    .values(
        closed_us=case(
            (head.c.closed_us < bindparam("closed", type_=Big), bindparam("closed", type_=Big)),
            else_=head.c.closed_us,
        )
    )
    .returning(head.c.clock_offset_us)
)


async def close_until(uow: UnitOfWork, at_us: int) -> int:
    """Lock the head, and let nothing be booked at an instant or before; gives the clock offset."""
    return cast(int, await uow.scalar(_CLOSE, {"closed": at_us}))


async def update_head(uow: UnitOfWork, values: Mapping[str, int]) -> None:
    """Change the head's clock offset, or the instant up to which nothing is booked any more."""
    await uow.execute(head.update().where(head.c.lane == 0).values(**values))


_HEAD_ROW: Final = Prepared(_HEAD, HeadRow._make)


async def head_row(view: Reader) -> HeadRow:
    """The head without a lock."""
    row = await view.row(_HEAD_ROW)
    assert row is not None
    return row


async def id_key(view: View) -> bytes:
    """The key that turns transfer numbers into public ids."""
    return cast(bytes, await view.scalar(select(head.c.id_key).where(head.c.lane == 0)))


class NewAccount(NamedTuple):
    """A row of an account, and of its balance what is not zero."""

    account: Mapping[str, Any]
    balance: Mapping[str, Any]


_ZERO = dict.fromkeys((*COUNTERS, "flags"), 0)


async def insert_ledger_accounts(new: Sequence[tuple[UnitOfWork, NewAccount]]) -> list[int]:
    """Insert accounts and their zero balances, each for its unit of work; gives their numbers."""
    c = ledger_accounts.c
    made = await insert_for_each(
        ledger_accounts, [(uow, one.account) for uow, one in new], c.public_id
    )
    numbers: list[int] = [row.id for row in made]
    zeros = [
        (uow, {**_ZERO, **one.balance, "asset": one.account["asset"], "account_id": number})
        for (uow, one), number in zip(new, numbers, strict=True)
    ]
    await insert_for_each(balances, zeros, balances.c.account_id)
    return numbers


async def has_accounts(view: View) -> bool:
    """Whether any account is open."""
    return await view.scalar(select(ledger_accounts.c.id).limit(1)) is not None


async def numbers_by_code(view: View, codes: Sequence[str]) -> dict[str, int]:
    """Numbers of the bank's own accounts that exist."""
    rows = await view.all(
        select(ledger_accounts.c.code, ledger_accounts.c.id).where(
            ledger_accounts.c.code.in_(codes)
        )
    )
    return {row.code: row.id for row in rows}


async def bank_accounts(view: View, asset: str, role: str) -> list[int]:
    """Numbers of the bank's own accounts of a role, each before the one in which it goes on."""
    numbers: list[int] = []
    while True:
        codes = [bank_code(asset, role, len(numbers) + place) for place in range(1, 9)]
        found = await numbers_by_code(view, codes)
        numbers += [found[code] for code in codes if code in found]
        if len(found) < len(codes):
            return numbers


_ACCOUNTS: Final = Keyed(
    select(ledger_accounts).where(ledger_accounts.c.id.in_(ANY_KEY)),
    LedgerAccountRow._make,
    attrgetter("id"),
)
_BALANCES: Final = Keyed(
    select(balances).where(balances.c.account_id.in_(ANY_KEY)),
    BalanceRow._make,
    attrgetter("account_id"),
)


async def account_rows(view: Reader, numbers: Collection[int]) -> dict[int, LedgerAccountRow]:
    """Facts of the accounts that exist."""
    return await view.keyed(_ACCOUNTS, numbers)


async def balance_rows(view: Reader, numbers: Collection[int]) -> dict[int, BalanceRow]:
    """Balances of the accounts that exist."""
    return await view.keyed(_BALANCES, numbers)


async def balance_row(view: Reader, number: int) -> BalanceRow | None:
    """One account's balance."""
    return (await balance_rows(view, [number])).get(number)


async def update_balance(uow: UnitOfWork, number: int, values: Mapping[str, Any]) -> None:
    """Change bounds or flags; the caller holds the head's lock."""
    await uow.execute(balances.update().where(balances.c.account_id == number).values(**values))


async def set_limit(
    uow: UnitOfWork, number: int, period: str, max_amount: int | None, max_count: int | None
) -> bool:
    """Write or delete one limit; tells whether the account still has any."""
    c = limits.c
    mine = and_(c.account_id == number, c.period == period)
    if max_amount is None and max_count is None:
        await uow.execute(limits.delete().where(mine))
    else:
        bounds = {"max_amount": max_amount, "max_count": max_count}
        changed = await uow.execute(limits.update().where(mine).values(**bounds))
        if changed.rowcount == 0:
            unused = dict.fromkeys(USED, 0)
            await uow.execute(
                limits.insert().values(account_id=number, period=period, **bounds, **unused)
            )
    left: int = await uow.scalar(
        select(func.count()).select_from(limits).where(c.account_id == number)
    )
    return left > 0


def _due(now_us: ColumnElement[int] | int) -> tuple[ColumnElement[bool], ...]:
    """Open, and its time has come; said as the index says it."""
    c = holds.c
    return c.state == literal_column("0"), c.expires_at.is_not(None), c.expires_at <= now_us


class Lapsing(NamedTuple):
    """A balance, and what of it stands as held and as coming in though its time is over."""

    balance: BalanceRow
    lapsed: tuple[int, int]


def _lapsing() -> Keyed[int, Lapsing]:
    """Each due hold finds its transfer by number: joined, a plan may read all of them."""
    c, t, b = holds.c, transfers.c, balances.c
    due = _due(bindparam("now"))
    held, none = c.remaining.label("held"), literal_column("0", Big)
    debit = select(t.debit_account).where(t.id == c.id).scalar_subquery()
    credit = select(t.credit_account).where(t.id == c.id).scalar_subquery()
    sides = union_all(
        select(debit.label("account"), held, none.label("coming")).where(*due),
        select(credit, none, held).where(*due),
    ).subquery()
    account = sides.c.account
    sums = [func.sum(sides.c.held).label("held"), func.sum(sides.c.coming).label("coming")]
    lapsed = select(account, *sums).where(account.in_(ANY_KEY)).group_by(account).subquery()
    statement = select(balances, lapsed.c.held, lapsed.c.coming)
    statement = statement.outerjoin(lapsed, lapsed.c.account == b.account_id)
    return Keyed(statement.where(b.account_id.in_(ANY_KEY)), _made, lambda one: one.balance[0])


def _made(row: Sequence[Any]) -> Lapsing:
    *balance, held, coming = row
    return Lapsing(BalanceRow._make(balance), (int(held or 0), int(coming or 0)))


_LAPSING: Final = _lapsing()


async def lapsing(view: Reader, numbers: Collection[int], now_us: int) -> Collection[Lapsing]:
    """Balances of the accounts that exist, with what of their holds has lapsed, at one moment."""
    return (await view.keyed(_LAPSING, numbers, now=now_us)).values()


async def due_holds(view: View, now_us: int, count: int) -> list[int]:
    """Open holds whose time has come, oldest first."""
    c = holds.c
    rows = await view.all(select(c.id).where(*_due(now_us)).order_by(c.expires_at).limit(count))
    return [row.id for row in rows]
