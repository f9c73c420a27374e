"""Deliveries: which event still has to reach which subscriber.

A row for each pair is written by ``UnitOfWork.record`` in the transaction of the event itself.
So nothing can be overlooked: a reader that followed the outbox by its ids would pass over an event
whose transaction commits after one with a higher id, as PostgreSQL allows. An event that nobody
wants leaves no row here. What is subscribed later is heard of from then on.

A delivery is claimed by moving its ``due_at`` behind the end of a lease and marking it with a
token; whoever holds the token may settle it. When the holder dies the lease runs out and it is
due again. Only the first pending delivery of a stream can be claimed, which keeps the order.
"""

import json
import zlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    Table,
    Update,
    and_,
    exists,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.core.clock import SECOND_US, Clock
from guilder.core.events import Delivery, Event, EventRoutes
from guilder.db.base import STRICT, Big, Guid, Small, String, metadata
from guilder.db.digests import no_digests
from guilder.db.engine import Database, raise_translated
from guilder.db.outbox import outbox

UNROUTED: Final = frozenset({"ledger.batch_posted"})
"""Types of rows that are not written by ``record``: a subscription to them would hear nothing."""


def _partial(name: str, where: str, *columns: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


deliveries = Table(
    "outbox_deliveries",
    metadata,
    Column("event_id", Big, ForeignKey("outbox.id"), primary_key=True, autoincrement=False),
    Column("subscriber", String, primary_key=True),
    Column("stream", String, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("state", String, nullable=False),
    Column("attempts", Small, nullable=False),
    Column("due_at", Big, nullable=False),
    Column("claim", Guid),
    Column("settled_at", Big),
    Column("last_error", String),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    _partial("ix_outbox_deliveries_due", "state = 'pending'", "subscriber", "due_at"),
    _partial(
        "ix_outbox_deliveries_streams", "state = 'pending'", "subscriber", "stream", "event_id"
    ),
    _partial("ix_outbox_deliveries_dead", "state = 'dead'", "subscriber"),
    **STRICT,
)

no_digests(deliveries, "they are over once they are made")

# Written out, not bound: only then do both planners know that the partial indexes apply.
PENDING: Final[ColumnElement[str]] = literal_column("'pending'")
"""The state of what still has to reach its subscriber."""
_DEAD: Final[ColumnElement[str]] = literal_column("'dead'")

_earlier = deliveries.alias()


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that is ours for the time of a lease."""

    delivery: Delivery
    token: UUID


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is undelivered: the oldest pending delivery's age, and the number of dead letters."""

    lag_seconds: float = 0.0
    dead_letters: int = 0


def check_event_routes(routes: EventRoutes) -> EventRoutes:
    """The routes. Raises ``ValueError`` when a type among them is never delivered."""
    if deaf := sorted(UNROUTED & routes.keys()):
        raise ValueError(f"{', '.join(deaf)}: follow the ledger's batches, they are numbered")
    return routes


def delivery_rows(
    event_id: int, event: Event, subscribers: Sequence[str], at_us: int
) -> list[dict[str, Any]]:
    """A pending row for each subscriber of an event."""
    return [
        {
            "event_id": event_id,
            "subscriber": name,
            "stream": event.stream,
            "created_at": at_us,
            "state": "pending",
            "attempts": 0,
            "due_at": at_us,
        }
        for name in subscribers
    ]


def stream_lock(stream: str) -> int:
    """The 32-bit number under which writers of one stream queue up; equal ones only wait longer."""
    return zlib.crc32(stream.encode()) - (1 << 31)


class Deliveries:
    """Claims deliveries and writes down what became of them, each in a transaction of its own."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, subscriber: str, most: int, lease_us: int) -> list[ClaimedDelivery]:
        """Claim up to so many that are due, the first of each stream; that counts as an attempt.

        Several processes may ask at once and get different ones. Looks before it writes: on SQLite
        a transaction that may write keeps the poster waiting.
        """
        now = self._clock.now_us()
        wanted = _claimable(subscriber, now)
        async with self._database.view() as connection:
            if (await connection.execute(wanted.limit(1))).first() is None:
                return []
        locking = wanted.limit(most).with_for_update(of=deliveries, skip_locked=True)
        token = uuid4()
        async with self._writing() as connection:
            rows = (await connection.execute(locking)).all()
            await connection.execute(
                _all_of(subscriber, [row.event_id for row in rows]).values(
                    due_at=now + lease_us, attempts=deliveries.c.attempts + 1, claim=token
                )
            )
        return [ClaimedDelivery(_delivery(row), token) for row in rows]

    async def mark_delivered(self, claimed: ClaimedDelivery) -> bool:
        """Mark it as delivered; False when the claim had run out."""
        return await self._settle(claimed, state="delivered", settled_at=self._clock.now_us())

    async def schedule_retry(self, claimed: ClaimedDelivery, error: str, delay_us: int) -> bool:
        """Schedule another attempt after ``delay_us``; False when the claim had run out."""
        due_at = self._clock.now_us() + delay_us
        return await self._settle(claimed, due_at=due_at, last_error=error)

    async def dead_letter(self, claimed: ClaimedDelivery, error: str) -> bool:
        """Make it a dead letter, so that its stream goes on; False when the claim had run out."""
        now = self._clock.now_us()
        return await self._settle(claimed, state="dead", settled_at=now, last_error=error)

    async def release(self, claimed: ClaimedDelivery) -> bool:
        """Give it back: due at once, and the attempt does not count.

        False when the claim had run out.
        """
        before = deliveries.c.attempts - 1
        return await self._settle(claimed, due_at=self._clock.now_us(), attempts=before)

    async def backlog(self, subscribers: Collection[str]) -> Backlog:
        """What is undelivered for these subscribers."""
        if not subscribers:
            return Backlog()
        among = deliveries.c.subscriber.in_(subscribers)
        oldest = select(func.min(deliveries.c.created_at))
        dead = select(func.count()).select_from(deliveries)
        async with self._database.view() as connection:
            since = await connection.scalar(oldest.where(deliveries.c.state == PENDING, among))
            count = await connection.scalar(dead.where(deliveries.c.state == _DEAD, among))
        now = self._clock.now_us()
        return Backlog(max(now - (since or now), 0) / SECOND_US, count or 0)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of its own. Raises ``Unavailable`` when the database is away or busy."""
        try:
            async with self._database.begin() as connection:
                yield connection
        except (OSError, SQLAlchemyError, asyncpg.InterfaceError) as error:
            raise_translated(error)

    async def _settle(self, claimed: ClaimedDelivery, **values: Any) -> bool:
        """Give the claim back with what is new; False when it has run out and is another's."""
        delivery = claimed.delivery
        statement = _all_of(delivery.subscriber, [delivery.event_id]).where(
            deliveries.c.claim == claimed.token
        )
        async with self._writing() as connection:
            done = await connection.execute(statement.values(claim=None, **values))
        return done.rowcount == 1


def _claimable(subscriber: str, now_us: int) -> Select[Any]:
    """Deliveries that are due and come first in their stream, with their events."""
    d, e = deliveries.c, _earlier.c
    in_the_way = and_(
        e.subscriber == subscriber, e.stream == d.stream, e.state == PENDING,
        e.event_id < d.event_id,
    )  # fmt: skip
    return (
        select(deliveries, outbox.c.type, outbox.c.payload)
        .select_from(deliveries.join(outbox, outbox.c.id == d.event_id))
        .where(d.subscriber == subscriber, d.state == PENDING, d.due_at <= now_us)
        .where(~exists().where(in_the_way).correlate(deliveries))
        .order_by(d.due_at, d.event_id)
    )


def _all_of(subscriber: str, event_ids: Sequence[int]) -> Update:
    return deliveries.update().where(
        deliveries.c.subscriber == subscriber, deliveries.c.event_id.in_(event_ids)
    )


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row.event_id, row.subscriber, row.stream, row.type, json.loads(row.payload),
        row.created_at, row.attempts + 1,
    )  # fmt: skip
