"""How the bank fares, part by part: healthy, degraded (works, but not for long), or unhealthy.

All is looked at within seconds, at most once a second however often it is asked for, and a row is
written at most every ``WRITE_SECONDS``.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from guilder.core.clock import Clock
from guilder.core.errors import Refusal, Unavailable, cause_of
from guilder.core.sparse_log import SparseLog
from guilder.db.deliveries import Backlog
from guilder.db.engine import Database
from guilder.db.health import prove_writing
from guilder.db.postgres import CONNECT_TIMEOUT_SECONDS
from guilder.infra.process.descriptors import most_descriptors, open_descriptors

HEALTH_SECONDS: Final = 1.0
WRITE_SECONDS: Final = 5.0
SLOW_BATCH_SECONDS: Final = 2.0
STUCK_BATCH_SECONDS: Final = 5.0
LATE_JOBS_SECONDS: Final = 60.0
"""Age of an event that has not reached all its subscribers, from which jobs count as late."""
FEW_BYTES: Final = 256 << 20
NO_BYTES: Final = 32 << 20
FEW_DESCRIPTORS: Final = 0.8
NO_DESCRIPTORS: Final = 0.95
"""Of those that the process may have open."""

_log = logging.getLogger(__name__)
_sparse: Final = SparseLog(_log)


class Status(StrEnum):
    """Of a part, or of all: that of the worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


_WORSE: Final = tuple(Status)


@dataclass(frozen=True, slots=True)
class PartHealth:
    """How one part is, and by what that is known."""

    status: Status
    latency_ms: float | None = None
    waiting_seconds: float | None = None
    last_batch_seconds: float | None = None
    lag_seconds: float | None = None
    dead_letters: int | None = None
    free_bytes: int | None = None
    open: int | None = None
    limit: int | None = None


class PosterState(Protocol):
    """What is looked at of the ledger's poster."""

    @property
    def alive(self) -> bool: ...
    @property
    def batch_seconds(self) -> float: ...
    @property
    def last_batch_seconds(self) -> float | None: ...


class HealthMonitor:
    """Looks at all parts; ``backlog`` tells how late jobs are, and data is in ``folders``."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        poster: PosterState,
        backlog: Callable[[], Awaitable[Backlog]],
        folders: Sequence[Path],
    ) -> None:
        self._database = database
        self._clock = clock
        self._poster = poster
        self._backlog = backlog
        self._folders = folders
        self._looking = asyncio.Lock()
        self._seen: tuple[float, dict[str, PartHealth]] | None = None
        self._status = Status.HEALTHY
        self._writing: asyncio.Task[None] | None = None
        self._written_at = float("-inf")

    async def look(self) -> tuple[Status, dict[str, PartHealth]]:
        """How everything is, and each part, as somebody saw it within ``HEALTH_SECONDS``.

        Who asks during a look gets what it finds, however long it takes.
        """
        async with self._looking:
            if self._seen is None or monotonic() - self._seen[0] > HEALTH_SECONDS:
                parts = await self._look()
                self._seen = monotonic(), parts
        parts = self._seen[1]
        status = max((part.status for part in parts.values()), key=_WORSE.index)
        self._tell(status, parts)
        return status, parts

    async def close(self) -> None:
        """Wait no longer for a row that is being written."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def _tell(self, status: Status, parts: dict[str, PartHealth]) -> None:
        """Log that it has changed, and which parts are to blame."""
        if status is not self._status:
            self._status = status
            bad = {n: part.status for n, part in parts.items() if part.status is not Status.HEALTHY}
            level = logging.INFO if status is Status.HEALTHY else logging.ERROR
            _log.log(level, "health is now %s", status, extra={"fields": {"parts": bad}})

    async def _look(self) -> dict[str, PartHealth]:
        database, jobs = await asyncio.gather(self._of_database(), self._of_jobs())
        return {
            "database": database,
            "poster": self._of_poster(),
            "jobs": jobs,
            "disk": self._of_disk(),
            "descriptors": _of_descriptors(),
        }

    async def _of_database(self) -> PartHealth:
        begun = perf_counter()
        try:
            await self._database.ping()
        except (Refusal, TimeoutError, SQLAlchemyError):
            return PartHealth(Status.UNHEALTHY)
        latency_ms = round((perf_counter() - begun) * 1000, 3)
        written = await self._is_written()
        return PartHealth(Status.HEALTHY if written else Status.UNHEALTHY, latency_ms)

    async def _is_written(self) -> bool:
        """Whether a row could be written lately; one that takes too long is waited for next time.

        It is never cancelled: on SQLite nobody else could write until its wait were over.
        """
        if self._writing is None:
            if monotonic() - self._written_at < WRITE_SECONDS:
                return True
            self._writing = asyncio.create_task(prove_writing(self._database, self._clock))
        await asyncio.wait((self._writing,), timeout=CONNECT_TIMEOUT_SECONDS)
        if not self._writing.done():
            return False
        task, self._writing = self._writing, None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            cause = cause_of(error) if isinstance(error, Refusal) else type(error).__name__
            _sparse.tell("health could not write its row", cause)
        self._written_at = monotonic() if error is None else float("-inf")
        return error is None

    def _of_poster(self) -> PartHealth:
        waiting, last = self._poster.batch_seconds, self._poster.last_batch_seconds
        status = _at(waiting, SLOW_BATCH_SECONDS, STUCK_BATCH_SECONDS)
        return PartHealth(
            status if self._poster.alive else Status.UNHEALTHY,
            waiting_seconds=round(waiting, 3),
            last_batch_seconds=None if last is None else round(last, 3),
        )

    async def _of_jobs(self) -> PartHealth:
        """Late jobs lose nothing: what they have to do waits in the database."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                backlog = await self._backlog()
        except (Unavailable, TimeoutError, SQLAlchemyError):
            return PartHealth(Status.DEGRADED)
        late = backlog.lag_seconds > LATE_JOBS_SECONDS
        return PartHealth(
            Status.DEGRADED if late else Status.HEALTHY,
            lag_seconds=round(backlog.lag_seconds, 3),
            dead_letters=backlog.dead_letters,
        )

    def _of_disk(self) -> PartHealth:
        free = [shutil.disk_usage(folder).free for folder in self._folders if folder.is_dir()]
        if not free:
            return PartHealth(Status.HEALTHY)
        return PartHealth(_at(-min(free), -FEW_BYTES, -NO_BYTES), free_bytes=min(free))


def _of_descriptors() -> PartHealth:
    count, limit = open_descriptors(), most_descriptors()
    if count is None:
        return PartHealth(Status.HEALTHY, limit=limit)
    status = _at(count / limit, FEW_DESCRIPTORS, NO_DESCRIPTORS)
    return PartHealth(status, open=count, limit=limit)


def _at(value: float, degraded: float, unhealthy: float) -> Status:
    """The status from which value on."""
    if value >= unhealthy:
        return Status.UNHEALTHY
    return Status.DEGRADED if value >= degraded else Status.HEALTHY
