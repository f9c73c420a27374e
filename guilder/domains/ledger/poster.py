"""The poster: the second of the two doors. It coalesces concurrent units into one transaction.

One task, one batch in flight a process, no timer: when idle a unit posts at once, when busy all
that has arrived is the next batch, up to the moment when its turn among the processes comes. A
caller that goes away drops its future, never the batch.
"""

import asyncio
import logging
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from guilder.core.errors import OutcomeUnknown, Overloaded, Refusal, Unavailable
from guilder.core.ports import NO_STEP, Tracer
from guilder.domains.ledger.ports import NotCommitted, Store, no_more
from guilder.domains.ledger.rules.state import Unit, UnitResult

MAX_BATCH: Final = 1_000
"""Postings after which a batch takes no further unit; measured, see the performance page."""

MAX_QUEUE_SECONDS: Final = 0.12
ALWAYS_QUEUED: Final = 4 * MAX_BATCH
"""Four full batches may wait however slow the machine: a few bulk callers are no overload."""

QUEUED_SECONDS: Final = 5.0
"""How long a unit waits for its batch to begin; then its caller is told that nothing was done."""

BATCH_ATTEMPTS: Final = 4
BATCH_SECONDS: Final = 8.0
"""After which a batch that could not be committed is not tried again."""

_log = logging.getLogger(__name__)

type _Waiting = tuple[Unit, asyncio.Future[UnitResult], float]
"""A unit, who is told of it, and when it came."""


class Observer(Protocol):
    """Is told how the poster fares: for metrics."""

    def batch(self, postings: int, seconds: float) -> None: ...

    def queue(self, postings: int) -> None: ...


@dataclass(slots=True)
class _Silent:
    def batch(self, postings: int, seconds: float) -> None:
        """Nobody listens."""

    def queue(self, postings: int) -> None:
        """Nobody listens."""


class Poster:
    """Takes units from any number of requests and answers each when its batch has committed."""

    def __init__(
        self, store: Store, observer: Observer | None = None, tracer: Tracer | None = None
    ) -> None:
        self._store = store
        self._observer = observer or _Silent()
        self._tracer = tracer
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._seconds_each = 0.0001
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._begun_at: float | None = None
        self._ended_at: float | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to work, on the running loop."""
        self._task = asyncio.create_task(self._work(), name="poster")
        self._sweeper = asyncio.create_task(self._refuse_late(), name="poster sweeper")

    @property
    def alive(self) -> bool:
        """Whether it has been started and works."""
        return self._task is not None and not self._task.done()

    @property
    def batch_seconds(self) -> float:
        """How long the batch in flight has taken until now; 0 when there is none."""
        return 0.0 if self._begun_at is None else time.monotonic() - self._begun_at

    @property
    def last_batch_seconds(self) -> float | None:
        """How long ago the last batch ended, None before the first one."""
        return None if self._ended_at is None else time.monotonic() - self._ended_at

    async def stop(self) -> None:
        """Take in nothing more, finish what is queued, and close the store."""
        self._closing = True
        self._wake.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()
        await self._store.close()

    async def submit(self, unit: Unit) -> UnitResult:
        """Post a unit and return its results once they are durable.

        Raises ``Overloaded`` before anything is queued when more than four full batches wait that
        would take longer than about 120 ms, ``Unavailable`` when closing, without a database or
        when no batch began within ``QUEUED_SECONDS``, and ``OutcomeUnknown`` when a commit's reply
        was lost and not learned.
        """
        if self._closing:
            raise Unavailable()
        wait_seconds = self._queued * self._seconds_each
        if unit.postings and self._queued > ALWAYS_QUEUED and wait_seconds > MAX_QUEUE_SECONDS:
            raise Overloaded()
        future: asyncio.Future[UnitResult] = asyncio.get_running_loop().create_future()
        self._queue.append((unit, future, time.monotonic()))
        self._queued += len(unit.postings)
        self._wake.set()
        with NO_STEP if self._tracer is None else self._tracer.span("ledger.submit"):
            return await future

    async def _work(self) -> None:
        try:
            while not (self._closing and not self._queue):
                await self._wake.wait()
                while self._queue:
                    waiting = self._take()
                    started = time.perf_counter()
                    self._begun_at = time.monotonic()
                    await self._post(waiting, may_grow=True)
                    self._begun_at, self._ended_at = None, time.monotonic()
                    self._measure(_postings(waiting), started)
                self._wake.clear()
        finally:  # a stop that is given up cancels this: nobody may wait for ever
            self._closing = True
            for _, future, _ in self._queue:
                _refuse(future, Unavailable())

    async def _refuse_late(self) -> None:
        """Answer those whose turn does not come, because the batch in flight does not end."""
        refusal = Unavailable()
        refusal.__cause__ = TimeoutError("the batch before this one does not end")
        while True:
            await asyncio.sleep(QUEUED_SECONDS / 10)
            late = time.monotonic() - QUEUED_SECONDS
            while self._queue and self._queue[0][2] < late:
                unit, future, _ = self._queue.popleft()
                self._queued -= len(unit.postings)
                _refuse(future, refusal)

    def _take(self, room: int = MAX_BATCH) -> list[_Waiting]:
        """The next units that fit; to an empty batch, the next one even if it does not."""
        taken: list[_Waiting] = []
        while self._queue:
            postings = len(self._queue[0][0].postings)
            if postings > room and (taken or room < MAX_BATCH):
                break
            taken.append(self._queue.popleft())
            room -= postings
            self._queued -= postings
        return taken

    def _measure(self, postings: int, started: float) -> None:
        if not postings:
            return
        seconds = time.perf_counter() - started
        self._seconds_each += 0.1 * (seconds / postings - self._seconds_each)
        try:
            self._observer.batch(postings, seconds)
            self._observer.queue(self._queued)
        except Exception:  # noqa: BLE001 - metrics must not stop the bank
            _log.exception("the poster's observer failed")

    async def _post(self, waiting: list[_Waiting], *, may_grow: bool = False) -> None:
        """Commit; a batch that fails for one unit's sake is halved until that unit stands alone.

        To one that may grow, what has arrived when its turn comes is added.
        """
        try:
            results = await self._attempt(waiting, may_grow)
        except (Unavailable, OutcomeUnknown) as error:
            for _, future, _ in waiting:
                _refuse(future, error)
        except Exception as error:  # noqa: BLE001 - one request's defect must not fail its neighbours
            if len(waiting) == 1:
                _fail(waiting[0][1], error)
                return
            middle = len(waiting) // 2
            await self._post(waiting[:middle])
            await self._post(waiting[middle:])
        except asyncio.CancelledError:
            for _, future, _ in waiting:
                _refuse(future, OutcomeUnknown())
            raise
        else:
            for (_, future, _), result in zip(waiting, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _attempt(self, waiting: list[_Waiting], may_grow: bool) -> list[UnitResult]:
        units = [unit for unit, _, _ in waiting]
        deadline = time.monotonic() + BATCH_SECONDS

        def more() -> None:
            taken = self._take(MAX_BATCH - _postings(waiting))
            waiting.extend(taken)
            units.extend(unit for unit, _, _ in taken)

        for attempts_left in reversed(range(BATCH_ATTEMPTS)):
            try:
                return await self._store.commit(units, more if may_grow else no_more)
            except NotCommitted as error:
                if attempts_left == 0 or time.monotonic() > deadline:
                    raise Unavailable() from error
            await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises


def _postings(waiting: list[_Waiting]) -> int:
    return sum(len(unit.postings) for unit, _, _ in waiting)


def _refuse(future: asyncio.Future[UnitResult], refusal: Refusal) -> None:
    """A refusal of its own for every waiter: a raised exception collects its raiser's frames."""
    if not future.done():
        own = type(refusal)(refusal.detail, retry_after_seconds=refusal.retry_after_seconds)
        own.__cause__ = refusal.__cause__
        future.set_exception(own)


def _fail(future: asyncio.Future[UnitResult], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
