"""A dispatcher on a real database, events to deliver and somebody who writes down what comes."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.core.actor import SYSTEM
from guilder.core.clock import Clock, FixedClock
from guilder.core.events import Delivery, EventRoutes
from guilder.db.deliveries import Deliveries
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.infra.process.dispatcher import Dispatcher, RetryPolicy

START = 1_790_000_000_000_000
PATIENCE = RetryPolicy(
    call_timeout_seconds=5, lease_seconds=60, initial_backoff_seconds=4, max_backoff_seconds=20,
    max_attempts=4, shutdown_grace_seconds=1,
)  # fmt: skip
ROUTES: EventRoutes = {"test.told": ("mail", "log"), "test.mailed": ("mail",)}


@dataclass(frozen=True, slots=True)
class Told:
    """Something was said in a stream."""

    type: ClassVar[str] = "test.told"
    stream: str
    number: int

    def payload(self) -> Mapping[str, object]:
        return {"number": self.number}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        return cls("", payload["number"])


@dataclass(frozen=True, slots=True)
class Mailed(Told):
    """The same for the mail alone."""

    type: ClassVar[str] = "test.mailed"


@dataclass(frozen=True, slots=True)
class Unheard(Told):
    """What nobody subscribes to."""

    type: ClassVar[str] = "test.unheard"


@dataclass(frozen=True, slots=True)
class Tell:
    """Record events, all in one transaction."""

    action: ClassVar[str] = "test.tell"
    events: tuple[Told, ...]


async def tell(uow: UnitOfWork, cmd: Tell) -> None:
    for event in cmd.events:
        await uow.record(event)


class Reader:
    """A subscriber that keeps what it gets, by stream; may fail first, as ``trouble`` says."""

    def __init__(self) -> None:
        self.got: dict[str, list[int]] = defaultdict(list)
        self.deliveries: list[Delivery] = []
        self.trouble: Callable[[Delivery], Awaitable[None]] | None = None

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self.trouble is not None:
            await self.trouble(delivery)
        number = delivery.payload["number"]
        assert isinstance(number, int)
        self.got[delivery.stream].append(number)

    @property
    def numbers(self) -> list[int]:
        return sorted(number for numbers in self.got.values() for number in numbers)


class Office:
    """One process: its pool, its runner, its dispatcher."""

    def __init__(
        self, url: str, clock: Clock | None = None, retry_policy: RetryPolicy = PATIENCE,
        routes: EventRoutes = ROUTES,
    ) -> None:  # fmt: skip
        self.routes = routes
        self.clock = clock or FixedClock(START)
        self.database = Database(url)
        self.runner = Runner(self.database, self.clock, routes)
        self.deliveries = Deliveries(self.database, self.clock)
        self.dispatcher = Dispatcher(self.deliveries, ("mail", "log"), retry_policy)
        self.mail, self.log = Reader(), Reader()

    def unit_of_work(self, connection: AsyncConnection) -> UnitOfWork:
        """One whose transaction the test holds open."""
        return UnitOfWork(connection, SYSTEM, self.clock.now_us(), self.routes)

    async def tell(self, *events: Told) -> None:
        await self.runner.run(tell, Tell(events), SYSTEM)

    async def turn(self) -> int:
        """Deliver to both subscribers what is due."""
        mailed = await self.dispatcher.deliver_to("mail", self.mail)
        return mailed + await self.dispatcher.deliver_to("log", self.log)

    def later(self, seconds: float) -> None:
        assert isinstance(self.clock, FixedClock)
        self.clock.advance(seconds=seconds)

    async def rows(self) -> list[Any]:
        """Every delivery as it is stored."""
        from_all = "SELECT * FROM outbox_deliveries ORDER BY event_id, subscriber"
        return list(await self.runner.view(lambda view: view.all(text(from_all))))

    async def states(self, subscriber: str = "mail") -> list[tuple[str, int]]:
        return [
            (row.state, row.attempts) for row in await self.rows() if row.subscriber == subscriber
        ]

    async def close(self) -> None:
        await self.dispatcher.stop()
        await self.runner.drain()
        await self.database.close()
