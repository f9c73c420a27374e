"""The periodic jobs. They run inside ``guilder serve``, or apart from it as ``guilder worker``.

Several processes may run them at once: each job is such that doing it twice does no harm.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from guilder.bootstrap import Bank
from guilder.db.rate_limits import drop_full_buckets
from guilder.domains.identity.commands.pruning import prune
from guilder.domains.identity.subscribers import forget_old_letters
from guilder.domains.ledger.subscribers import expire_due_holds
from guilder.infra.dispatcher import POLL_SECONDS, Subscriber

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do again and again, the next time so long after the last has ended."""

    name: str
    interval_seconds: float
    work: Callable[[Bank], Coroutine[Any, Any, object]]


JOBS: Final[tuple[Job, ...]] = (
    Job("expire due holds", 1.0, lambda bank: expire_due_holds(bank.runner, bank.poster)),
    Job("forget old letters", 3600.0, lambda bank: forget_old_letters(bank.runner)),
    Job("drop old logins", 300.0, lambda bank: prune(bank.runner)),
    Job("drop full buckets", 60.0, lambda bank: drop_full_buckets(bank.database, bank.clock)),
)


def delivery_job(subscriber: Subscriber[Bank]) -> Job:
    """Bring a subscriber its events; each has a job of its own, so that none waits for another."""
    return Job(
        f"deliver to {subscriber.name}",
        POLL_SECONDS,
        lambda bank: bank.dispatcher.deliver_to(subscriber.name, partial(subscriber.handle, bank)),
    )


def jobs_of(bank: Bank) -> tuple[Job, ...]:
    """All that is to be done for this bank."""
    return (*JOBS, *[delivery_job(subscriber) for subscriber in bank.subscribers])


@asynccontextmanager
async def jobs_running(bank: Bank, jobs: Sequence[Job] | None = None) -> AsyncIterator[None]:
    """Do the jobs, all of them unless told which, in the background as long as the block lasts."""
    if jobs is None:
        jobs = jobs_of(bank)
    tasks = [asyncio.create_task(_repeat(bank, job), name=f"job {job.name}") for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(bank: Bank, job: Job) -> None:
    while True:
        await _once(bank, job)
        await asyncio.sleep(job.interval_seconds)


async def _once(bank: Bank, job: Job) -> None:
    """Do a job; one that fails is logged and tried again at its next time."""
    task = asyncio.ensure_future(job.work(bank))
    try:
        await asyncio.wait((task,))
    finally:
        task.cancel()
    if (error := task.exception()) is not None:
        _log.error("job failed", exc_info=error, extra={"fields": {"job": job.name}})
