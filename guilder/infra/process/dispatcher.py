"""The dispatcher: brings recorded events to their subscribers, each at least once, in order.

A turn is claim, call, record. Each is by itself: no transaction is open while a subscriber is
called, so it may use the network. A process that dies between the call and the record leaves a
claim that runs out, and the call is made again with the same ``Delivery.key``.

A subscriber that fails gets the event again after a back-off that doubles, up to ``max_attempts``
times; then the delivery is a dead letter, which is logged and counted. Until it has arrived or is
dead, later events of its stream wait; other streams and other subscribers do not.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

from guilder.core.clock import SECOND_US
from guilder.core.errors import Unavailable
from guilder.core.events import Delivery, DeliveryFailed, EventRoutes, Subscriber, Undeliverable
from guilder.db.deliveries import Backlog, ClaimedDelivery, Deliveries

DISPATCH_POLL_SECONDS: Final = 0.5
"""How soon after its commit an event is looked for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a delivery is tried, how long a call may take, and the back-off between attempts.

    The defaults try for about eleven hours. A lease is longer than a call and its record.
    """

    call_timeout_seconds: float = 30.0
    lease_seconds: float = 60.0
    initial_backoff_seconds: float = 5.0
    max_backoff_seconds: float = 3600.0
    max_attempts: int = 20
    concurrency: int = 8
    shutdown_grace_seconds: float = 0.5

    def backoff_seconds(self, attempt: int) -> float:
        """The back-off after so many attempts, with a quarter of jitter."""
        doubled = self.initial_backoff_seconds * 2.0 ** (attempt - 1)
        rest = min(doubled, self.max_backoff_seconds)
        return rest * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret


DEFAULT_RETRY_POLICY: Final = RetryPolicy()


def event_routes(subscribers: Iterable[Subscriber]) -> EventRoutes:
    """The subscribers of each type of event. Raises ``ValueError`` when two have one name."""
    routes: dict[str, tuple[str, ...]] = {}
    names: set[str] = set()
    for subscriber in subscribers:
        if subscriber.name in names:
            raise ValueError(f"two subscribers are called {subscriber.name}")
        names.add(subscriber.name)
        for kind in subscriber.types:
            routes[kind] = (*routes.get(kind, ()), subscriber.name)
    return routes


class Dispatcher:
    """Delivers what is due. Several processes may each have one on the same database."""

    def __init__(
        self,
        deliveries: Deliveries,
        names: Collection[str] = (),
        retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    ) -> None:
        self._deliveries = deliveries
        self._names = names
        self._retry_policy = retry_policy
        self._calls: dict[str, set[asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()

    async def deliver_to(self, name: str, handle: Callable[[Delivery], Awaitable[object]]) -> int:
        """Deliver to one subscriber until nothing is due; tells how many calls were begun.

        Cancelled, it claims no more; the calls that run go on until they end or ``stop`` comes.
        """
        calls = self._calls.setdefault(name, set())
        begun = 0
        while not self._stopping.is_set():
            if (free := self._retry_policy.concurrency - len(calls)) > 0:
                begun += await asyncio.shield(self._begin(self._claim(name, free, calls, handle)))
            if not calls:
                break
            await asyncio.wait(
                tuple(calls), timeout=DISPATCH_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        return begun

    async def stop(self) -> None:
        """Give running calls a moment, then cancel them; what they were about is due at once."""
        self._stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._retry_policy.shutdown_grace_seconds):
                await self._idle()
        for call in [call for calls in self._calls.values() for call in calls]:
            call.cancel()
        await self._idle()

    async def backlog(self) -> Backlog:
        """What has not arrived yet."""
        return await self._deliveries.backlog(self._names)

    async def _claim(
        self,
        name: str,
        most: int,
        calls: set[asyncio.Task[None]],
        handle: Callable[[Delivery], Awaitable[object]],
    ) -> int:
        """Claim what is due and begin to deliver it, one as good as the other."""
        lease_us = int(self._retry_policy.lease_seconds * SECOND_US)
        found = await self._deliveries.claim(name, most, lease_us)
        for claimed in found:
            call = self._begin(self._deliver(claimed, handle))
            calls.add(call)
            call.add_done_callback(calls.discard)
            call.add_done_callback(_log_failure)
        return len(found)

    async def _deliver(
        self, claimed: ClaimedDelivery, handle: Callable[[Delivery], Awaitable[object]]
    ) -> None:
        delivery = claimed.delivery
        failure: Exception | None = None
        if self._stopping.is_set():
            await self._deliveries.release(claimed)
            return
        try:
            if delivery.attempt > self._retry_policy.max_attempts:
                raise Undeliverable("no attempt came to its end")
            async with asyncio.timeout(self._retry_policy.call_timeout_seconds):
                await handle(delivery)
        except asyncio.CancelledError:
            if self._stopping.is_set():
                await self._deliveries.release(claimed)
            raise
        except Exception as error:  # noqa: BLE001 - written down with the delivery
            failure = error
        await self._keep(claimed, failure)

    async def _keep(self, claimed: ClaimedDelivery, failure: Exception | None) -> None:
        """Write down what became of it, as soon as the database lets us."""
        permanent = self._is_permanent(claimed.delivery, failure)
        ours: bool | None = None
        while ours is None:
            try:
                ours = await self._record(claimed, failure, permanent=permanent)
            except Unavailable:
                await asyncio.sleep(DISPATCH_POLL_SECONDS)
        if not ours:
            _log.warning("a delivery took longer than its lease", extra=_fields(claimed))
        elif failure is not None and permanent:
            unforeseen = None if isinstance(failure, DeliveryFailed) else failure
            _log.error("a delivery is dead", exc_info=unforeseen, extra=_fields(claimed, failure))
        elif failure is not None:
            _log.warning("a delivery failed", extra=_fields(claimed, failure))

    def _is_permanent(self, delivery: Delivery, failure: Exception | None) -> bool:
        last = delivery.attempt >= self._retry_policy.max_attempts
        return last or isinstance(failure, Undeliverable)

    async def _record(
        self, claimed: ClaimedDelivery, failure: Exception | None, *, permanent: bool
    ) -> bool:
        if failure is None:
            return await self._deliveries.mark_delivered(claimed)
        if permanent:
            return await self._deliveries.dead_letter(claimed, describe_failure(failure))
        rest_us = int(self._retry_policy.backoff_seconds(claimed.delivery.attempt) * SECOND_US)
        return await self._deliveries.schedule_retry(claimed, describe_failure(failure), rest_us)

    async def _idle(self) -> None:
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _begin[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def describe_failure(failure: Exception) -> str:
    """What is stored and logged of a failure; of an unforeseen one only its class."""
    kind = type(failure).__name__
    return f"{kind}: {failure}" if isinstance(failure, DeliveryFailed) else kind


def _fields(claimed: ClaimedDelivery, failure: Exception | None = None) -> dict[str, object]:
    delivery = claimed.delivery
    return {
        "fields": {
            "event_id": delivery.event_id,
            "event_type": delivery.type,
            "subscriber": delivery.subscriber,
            "attempt": delivery.attempt,
            "error": None if failure is None else describe_failure(failure),
        }
    }


def _log_failure(call: asyncio.Task[None]) -> None:
    """What goes wrong besides the subscriber; the claim runs out and the delivery is made again."""
    if not call.cancelled() and (error := call.exception()) is not None:
        _log.error("a delivery could not be recorded", exc_info=error)
