"""``Reader``: what a read asks the database through, and the light one, straight to the driver."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from itertools import batched
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Dialect, Executable

from guilder.core.actor import Actor
from guilder.core.ports import NO_STEP, Tracer
from guilder.db.audit import AuditDetails
from guilder.db.prepared import MOST_KEYS, Compiled, Keyed, Prepared


class ToldRead(NamedTuple):
    """A read that stands in the audit trail."""

    actor: Actor
    action: str
    details: AuditDetails


class Reader(ABC):
    """Reads by prepared statements, at the instant ``now_us`` of the real clock."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self.told_reads: list[ToldRead] = []

    def tell_read(self, actor: Actor, action: str, subject: object = None, **detail: Any) -> None:
        """Let the audit trail tell that an actor has read what is not their own.

        It does once the query is answered, and before anybody sees it. The bank itself is not
        told of, and a command tells of itself.
        """
        if actor.user_id is not None:
            details = AuditDetails()
            details.add(subject, detail)
            self.told_reads.append(ToldRead(actor, action, details))

    @abstractmethod
    async def rows[R](self, prepared: Prepared[R], **values: Any) -> list[R]:
        """Every row."""

    @abstractmethod
    async def keyed[K, R](
        self, keyed: Keyed[K, R], keys: Collection[K], **values: Any
    ) -> dict[K, R]:
        """The rows of these keys; keys without a row are absent."""

    async def row[R](self, prepared: Prepared[R], **values: Any) -> R | None:
        """The first row or None."""
        found = await self.rows(prepared, **values)
        return found[0] if found else None


class LightSource(Protocol):
    """A driver whose every statement is a transaction of its own that cannot write."""

    dialect: Dialect

    async def fetch(self, statement: Compiled, arguments: Sequence[Any]) -> list[Any]:
        """What the driver finds."""
        ...

    async def keyed[K, R](
        self, keyed: Keyed[K, R], keys: Sequence[K], values: dict[str, Any]
    ) -> dict[K, R]:
        """The rows of some keys, ``MOST_KEYS`` at most."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class LightReader(Reader):
    """Each of its statements sees what is committed when it runs."""

    def __init__(self, source: LightSource, now_us: int, tracer: Tracer | None = None) -> None:
        super().__init__(now_us)
        self._source = source
        self._tracer = tracer

    async def rows[R](self, prepared: Prepared[R], **values: Any) -> list[R]:
        """Every row."""
        statement = prepared.on(self._source.dialect)
        with self._step(prepared.statement):
            found = await self._source.fetch(statement, statement.arguments(values))
        return statement.rows(prepared.row, found)

    async def keyed[K, R](
        self, keyed: Keyed[K, R], keys: Collection[K], **values: Any
    ) -> dict[K, R]:
        """The rows of these keys; keys without a row are absent."""
        found: dict[K, R] = {}
        for some in batched(keys, MOST_KEYS):
            with self._step(keyed.statement):
                found |= await self._source.keyed(keyed, some, values)
        return found

    def _step(self, statement: Executable) -> AbstractContextManager[object]:
        if self._tracer is None:
            return NO_STEP
        return self._tracer.span(*described(self._source.dialect.name, str(statement)))


def described(system: str, sql: str) -> tuple[str, dict[str, str]]:
    """The name and the facts of a statement as a step of a trace: its text without values."""
    name = sql.split(maxsplit=1)[0].upper()
    facts = {"db.system.name": system, "db.operation.name": name, "db.query.text": sql}
    return name, facts
