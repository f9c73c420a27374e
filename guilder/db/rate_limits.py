"""Token buckets in the database: shared by several processes that have no Redis."""

from typing import Any, Final

from sqlalchemy import Column, LargeBinary, Table, bindparam, case
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from guilder.core.clock import SECOND_US, Clock
from guilder.core.rates import Rate, Verdict, take, verdict
from guilder.db.base import STRICT, Big, Bytes, Small, metadata
from guilder.db.digests import no_digests
from guilder.db.engine import Database, raise_translated
from guilder.db.idempotency import digest

MAX_REFUSED: Final = 10_000
SKEW_US: Final = 60 * SECOND_US
"""How far the clocks of the processes may differ before a full bucket is thrown away too early."""

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("key", Bytes, primary_key=True),
    Column("full_at", Big, nullable=False),
    Column("allowed", Small, nullable=False),
    **STRICT,
)

no_digests(rate_limits, "they change with every request")
"""A row for each bucket: when it is full again, and what it said last."""


def _taking(insert: Any) -> Any:
    """``guilder.core.rates.take`` as one statement, so that no two takers see the same token."""
    now, token, full = (bindparam(name, type_=Big) for name in ("now", "token", "full"))
    late = rate_limits.c.full_at - now
    owed = case((late <= 0, 0), (late > full, full), else_=late)
    room = owed + token <= full
    new = insert(rate_limits).values(
        key=bindparam("bucket", type_=LargeBinary()), full_at=now + token, allowed=1
    )
    return new.on_conflict_do_update(
        index_elements=[rate_limits.c.key],
        set_={
            "full_at": now + owed + case((room, token), else_=0),
            "allowed": case((room, 1), else_=0),
        },
    ).returning(rate_limits.c.full_at, rate_limits.c.allowed)


class SqlRateLimiter:
    """Buckets in the table ``rate_limits``, by the time of the process that asks.

    A bucket that has refused is asked again only when it may have a token: until then nobody can
    have put one in, so a flood of refused requests costs the database nothing.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._take = _taking(sqlite.insert if database.sqlite else postgresql.insert)
        self._refused: dict[bytes, int] = {}

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take a token. Raises ``Unavailable`` when the database is away."""
        bucket, now_us = digest(key), self._clock.now_us()
        known_us = self._refused.get(bucket)
        if known_us is not None and now_us < known_us <= now_us + rate.full_us:
            _, said = take(rate, known_us, now_us)
            if not said.allowed:
                return said
        values = {"bucket": bucket, "now": now_us, "token": rate.token_us, "full": rate.full_us}
        try:
            async with self._database.begin() as connection:
                row = (await connection.execute(self._take, values)).one()
        except (OSError, PoolTimeout, DBAPIError) as error:
            raise_translated(error)
        if row.allowed:
            self._refused.pop(bucket, None)
        else:
            self._remember(bucket, row.full_at)
        return verdict(rate, row.full_at - now_us, allowed=bool(row.allowed))

    async def give_back(self, key: str, rate: Rate) -> None:
        """Put a token back. Raises ``Unavailable`` when the database is away."""
        bucket, now_us = digest(key), self._clock.now_us()
        left = rate_limits.c.full_at - rate.token_us
        statement = (
            rate_limits.update()
            .where(rate_limits.c.key == bucket)
            .values(full_at=case((left > now_us, left), else_=now_us), allowed=1)
        )
        self._refused.pop(bucket, None)
        try:
            async with self._database.begin() as connection:
                await connection.execute(statement)
        except (OSError, PoolTimeout, DBAPIError) as error:
            raise_translated(error)

    def _remember(self, bucket: bytes, full_at_us: int) -> None:
        if len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        self._refused[bucket] = full_at_us


async def drop_full_buckets(database: Database, clock: Clock) -> int:
    """Delete what no longer limits anybody; tells how many buckets that were."""
    full = rate_limits.c.full_at < clock.now_us() - SKEW_US
    async with database.begin() as connection:
        return (await connection.execute(rate_limits.delete().where(full))).rowcount
