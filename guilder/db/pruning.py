"""What is kept for a time and then deleted: events with their deliveries, and answers under keys.

Each call deletes at most so many rows, found by an index, so that nobody waits long for it.
"""

from typing import Any, Final

from sqlalchemy import Select, exists, select

from guilder.core.clock import Clock
from guilder.db.deliveries import PENDING, deliveries
from guilder.db.engine import Database
from guilder.db.idempotency import idempotency_keys
from guilder.db.outbox import outbox

MAX_PRUNED: Final = 5_000


async def prune_events(
    database: Database, clock: Clock, kept_us: int, most: int = MAX_PRUNED
) -> int:
    """Delete events that are older than that and reach nobody any more; tells how many."""
    chosen = _old_events(clock.now_us() - kept_us, most)
    async with database.view() as connection:
        if (await connection.execute(chosen.limit(1))).first() is None:
            return 0
    async with database.begin() as connection:
        ids = (await connection.scalars(chosen)).all()
        await connection.execute(deliveries.delete().where(deliveries.c.event_id.in_(ids)))
        return (await connection.execute(outbox.delete().where(outbox.c.id.in_(ids)))).rowcount


async def prune_keys(database: Database, clock: Clock, kept_us: int, most: int = MAX_PRUNED) -> int:
    """Delete answers that are older than that; tells how many.

    Keys of transfers are the ledger's and stay for ever.
    """
    keys = idempotency_keys.c
    old = select(keys.key).where(keys.created_at < clock.now_us() - kept_us)
    async with database.view() as connection:
        if (await connection.execute(old.limit(1))).first() is None:
            return 0
    chosen = keys.key.in_(old.limit(most))
    async with database.begin() as connection:
        return (await connection.execute(idempotency_keys.delete().where(chosen))).rowcount


def _old_events(before: int, most: int) -> Select[Any]:
    """Of the oldest events, those of before an instant that no delivery waits for."""
    oldest = select(outbox.c.id, outbox.c.created_at).order_by(outbox.c.id).limit(most).subquery()
    waits = exists().where(deliveries.c.event_id == oldest.c.id, deliveries.c.state == PENDING)
    return select(oldest.c.id).where(oldest.c.created_at < before, ~waits)
