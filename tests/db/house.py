"""A runner on a real database and the smallest command there is: it writes a note."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sqlalchemy import text

from guilder.core.actor import Actor
from guilder.core.clock import FixedClock
from guilder.core.permissions import Role
from guilder.db.audit import audit_events
from guilder.db.engine import Database
from guilder.db.idempotency import Answer, Key, digest
from guilder.db.outbox import outbox
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork

START = 1_790_000_000_000_000
TELLER = Actor(None, Role.ADMIN, request_id="req-1", ip_address="192.0.2.7")


@dataclass(frozen=True, slots=True)
class Noted:
    """A note was written."""

    type: ClassVar[str] = "test.noted"
    words: str

    @property
    def stream(self) -> str:
        return "test"

    def payload(self) -> Mapping[str, object]:
        return {"words": self.words}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        return cls(**payload)


@dataclass(frozen=True, slots=True)
class Note:
    """Write a note into the outbox."""

    action: ClassVar[str] = "test.note"
    words: str


async def write_note(uow: UnitOfWork, cmd: Note) -> str:
    await uow.record(Noted(cmd.words))
    return cmd.words


class House:
    """One process's view of a database: its own pool, its own runner."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FixedClock(START)
        self.database = Database(url)
        self.runner = Runner(self.database, self.clock)

    @property
    def sqlite(self) -> bool:
        return self.database.sqlite

    async def notes(self) -> list[str]:
        """The words of every note that was committed, in order."""
        rows = await self.runner.view(lambda view: view.all(outbox.select().order_by(outbox.c.id)))
        return [row.payload[10:-2] for row in rows]

    async def audit(self) -> list[Any]:
        """The audit trail in order."""
        statement = audit_events.select().order_by(audit_events.c.id)
        return list(await self.runner.view(lambda view: view.all(statement)))

    async def phases(self) -> list[tuple[str, str | None]]:
        """Phase and code of every audit row in order."""
        return [(row.phase, row.code) for row in await self.audit()]

    async def kept_keys(self) -> int:
        """How many idempotency keys are stored."""
        statement = text("SELECT count(*) FROM idempotency_keys")
        return int(await self.runner.view(lambda view: view.scalar(statement)))


def key(name: str, request: str = "") -> Key:
    """A caller's key and what it was sent with."""
    return Key(digest("test", name), digest(request))


def created(words: str) -> Answer:
    """What the client is told about a note."""
    return Answer(201, words.encode())
