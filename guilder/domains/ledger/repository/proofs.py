"""Pages of raw rows for the verification of the whole ledger, in the order of their keys."""

from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import Select, func, outerjoin, select, tuple_

from guilder.db.outbox import outbox
from guilder.db.unit_of_work import View
from guilder.domains.ledger.models import (
    balances,
    batches,
    entries,
    head,
    holds,
    idempotency,
    ledger_accounts,
    transfers,
)

ROWS_PER_PAGE: Final = 5_000
BATCH_POSTED: Final = "ledger.batch_posted"


async def every_batch(view: View) -> AsyncIterator[Any]:
    """Batches by id."""
    async for row in _by_key(view, select(batches), batches.c.id):
        yield row


async def transfers_between(view: View, first: int, last: int) -> list[Any]:
    """Transfers of a range of numbers, in order."""
    c = transfers.c
    return list(await view.all(select(transfers).where(c.id.between(first, last)).order_by(c.id)))


async def keys_by_transfer(view: View) -> AsyncIterator[Any]:
    """The keys that are each of one transfer, by its number: sorted once, there is no index."""
    c = idempotency.c
    async for row in view.stream(
        select(idempotency).where(c.transfer_id.is_not(None)).order_by(c.transfer_id, c.key)
    ):
        yield row


async def every_entry(view: View) -> AsyncIterator[Any]:
    """Entries by account and transfer, with what the transfer says, None when it is missing."""
    c, t = entries.c, transfers.c
    both = outerjoin(entries, transfers, t.id == c.transfer_id)
    statement = select(
        *entries.c,
        t.kind,
        t.debit_account,
        t.credit_account,
        t.amount,
        t.value_on.label("transfer_value_on"),
    ).select_from(both)
    after = (-1, -1)
    while True:
        rows = await view.all(
            statement.where(tuple_(c.account_id, c.transfer_id) > after)
            .order_by(c.account_id, c.transfer_id)
            .limit(ROWS_PER_PAGE)
        )
        for row in rows:
            yield row
        if len(rows) < ROWS_PER_PAGE:
            return
        after = (rows[-1].account_id, rows[-1].transfer_id)


async def every_balance(view: View) -> AsyncIterator[Any]:
    """Balances by account, with the account's asset and category, None when it is missing."""
    both = outerjoin(balances, ledger_accounts, ledger_accounts.c.id == balances.c.account_id)
    statement = select(
        *balances.c, ledger_accounts.c.asset.label("account_asset"), ledger_accounts.c.category
    ).select_from(both)
    async for row in _by_key(view, statement, balances.c.account_id):
        yield row


async def every_hold(view: View) -> AsyncIterator[Any]:
    """Holds by number."""
    async for row in _by_key(view, select(holds), holds.c.id):
        yield row


async def every_batch_event(view: View) -> AsyncIterator[Any]:
    """What the outbox has of batches, in its order."""
    c = outbox.c
    told = select(c.id, c.payload, c.created_at).where(c.type == BATCH_POSTED)
    async for row in view.stream(told.order_by(c.id)):
        yield row


async def dangling_key(view: View) -> int | None:
    """The first transfer number that an idempotency row names and that does not exist."""
    both = outerjoin(idempotency, transfers, transfers.c.id == idempotency.c.transfer_id)
    found: int | None = await view.scalar(
        select(func.min(idempotency.c.transfer_id))
        .select_from(both)
        .where(idempotency.c.transfer_id.is_not(None), transfers.c.id.is_(None))
    )
    return found


async def shared_key(view: View) -> int | None:
    """The first transfer number that more than one idempotency row names."""
    c = idempotency.c
    found: int | None = await view.scalar(
        select(c.transfer_id)
        .where(c.transfer_id.is_not(None))
        .group_by(c.transfer_id)
        .having(func.count() > 1)
        .order_by(c.transfer_id)
        .limit(1)
    )
    return found


async def accounts_without_balance(view: View) -> int | None:
    """The first account that has no balance row."""
    both = outerjoin(ledger_accounts, balances, ledger_accounts.c.id == balances.c.account_id)
    found: int | None = await view.scalar(
        select(func.min(ledger_accounts.c.id))
        .select_from(both)
        .where(balances.c.account_id.is_(None))
    )
    return found


async def last_transfer(view: View) -> int:
    """The highest transfer number stored."""
    return int(await view.scalar(select(func.coalesce(func.max(transfers.c.id), 0))))


async def whole_head(view: View) -> Any:
    """The head row."""
    return await view.first(select(head).where(head.c.lane == 0))


async def _by_key(view: View, statement: Select[Any], key: Any) -> AsyncIterator[Any]:
    after = -1
    while True:
        rows = await view.all(statement.where(key > after).order_by(key).limit(ROWS_PER_PAGE))
        for row in rows:
            yield row
        if len(rows) < ROWS_PER_PAGE:
            return
        after = getattr(rows[-1], key.name)
