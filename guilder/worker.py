"""The periodic jobs. They run inside ``guilder serve``, or apart from it as ``guilder worker``.

Several processes may run them at once: each job is such that doing it twice does no harm.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from guilder.bootstrap import Bank
from guilder.core.clock import DAY_US
from guilder.core.errors import Unavailable, cause_of
from guilder.core.events import Subscriber
from guilder.core.jobs import Job
from guilder.core.parts import Parts
from guilder.core.sparse_log import SparseLog
from guilder.db.engine import Database, translated
from guilder.db.pruning import prune_events, prune_keys
from guilder.db.rate_limits import drop_full_buckets
from guilder.db.run import Runner
from guilder.infra.process.dispatcher import DISPATCH_POLL_SECONDS, Dispatcher
from guilder.infra.process.settings import Settings
from guilder.slices import SLICES

LONGEST_REST_SECONDS: Final = 10.0
"""Until a job that has failed again and again is tried once more, if it is not due later anyway."""

_log = logging.getLogger(__name__)


HOUSEKEEPING: Final = (
    Job(
        "drop full buckets", 60.0,
        lambda parts: drop_full_buckets(parts[Database], parts[Runner].clock),
    ),
    Job(
        "prune events", 60.0,
        lambda parts: prune_events(
            parts[Database], parts[Runner].clock, parts[Settings].events_kept_days * DAY_US
        ),
    ),
    Job(
        "prune answers", 60.0,
        lambda parts: prune_keys(
            parts[Database], parts[Runner].clock, parts[Settings].keys_kept_days * DAY_US
        ),
    ),
)  # fmt: skip
"""What is to be done that is no slice's own."""


def delivery_job(subscriber: Subscriber) -> Job:
    """Bring a subscriber its events; each has a job of its own, so that none waits for another."""
    return Job(
        f"deliver to {subscriber.name}",
        DISPATCH_POLL_SECONDS,
        lambda parts: parts[Dispatcher].deliver_to(
            subscriber.name, partial(subscriber.handle, parts)
        ),
    )


def jobs_of(bank: Bank) -> tuple[Job, ...]:
    """All that is to be done for this bank."""
    own = [job for one in SLICES for job in one.jobs]
    return (*HOUSEKEEPING, *own, *[delivery_job(subscriber) for subscriber in bank.subscribers])


@asynccontextmanager
async def jobs_running(bank: Bank, jobs: Sequence[Job] | None = None) -> AsyncIterator[None]:
    """Do the jobs, all of them unless told which, in the background as long as the block lasts."""
    if jobs is None:
        jobs = jobs_of(bank)
    parts, sparse = bank.parts, SparseLog(_log)
    tasks = [
        asyncio.create_task(_repeat(parts, job, sparse), name=f"job {job.name}") for job in jobs
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(parts: Parts, job: Job, sparse: SparseLog) -> None:
    rest = job.interval_seconds
    while True:
        if await _once(parts, job, sparse):
            rest = job.interval_seconds
        else:
            rest = max(job.interval_seconds, min(2 * rest, LONGEST_REST_SECONDS))
        await asyncio.sleep(rest)


async def _once(parts: Parts, job: Job, sparse: SparseLog) -> bool:
    """Do a job and tell whether it was done; one that fails is logged and tried again later.

    A database that is away fails them all: it is told once in a while, with its cause.
    """
    task = asyncio.ensure_future(job.work(parts))
    try:
        await asyncio.wait((task,))
    finally:
        task.cancel()
    error = None if task.cancelled() else task.exception()
    if not task.cancelled() and error is None:
        return True
    if isinstance(error, Exception) and isinstance(translated(error), Unavailable):
        sparse.tell("jobs wait for the database", cause_of(error))
    else:
        _log.error("job failed", exc_info=error, extra={"fields": {"job": job.name}})
    return False
