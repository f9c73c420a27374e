"""The runner: the one place that commits ordinary work.

An audited command leaves an ATTEMPTED row before it starts and SUCCEEDED or FAILED after; the
success is written in the command's own transaction, the failure in one of its own, so that it
survives the rollback. A command that meets a deadlock or a busy database runs again, whole.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.clock import Clock
from guilder.core.errors import Refusal
from guilder.core.events import Routes
from guilder.core.ids import uuid7
from guilder.db.audit import Phase, insert_audit
from guilder.db.deliveries import check_routes
from guilder.db.engine import Database, is_transient, raise_translated
from guilder.db.idempotency import Answer, Key, keep, replay
from guilder.db.unit_of_work import NOWHERE, UnitOfWork, View

ATTEMPTS: Final = 4


class Command(Protocol):
    """A frozen dataclass of intent; ``action`` is its name in the audit trail."""

    action: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Done[T]:
    """The command ran now; ``answer`` is what was kept under its key, if it had one."""

    value: T
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The command had run before under the same key; ``answer`` is what was said then."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class _Call[C: Command, T]:
    """A command to run: by which function, for whom, and under which key it may be answered."""

    handler: Callable[[UnitOfWork, C], Awaitable[T]]
    command: C
    actor: Actor
    key: Key | None = None
    answer: Callable[[T], Answer] | None = None


class Runner:
    """Runs commands in units of work and queries in views.

    ``routes`` tells whom their events are delivered to; without any they are only kept.
    """

    def __init__(self, database: Database, clock: Clock, routes: Routes = NOWHERE) -> None:
        self.database = database
        self.clock = clock
        self._routes = check_routes(routes)
        self._running: set[asyncio.Task[Any]] = set()

    async def run[C: Command, T](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[T]],
        command: C,
        actor: Actor,
    ) -> T:
        """Run a command and return its value; raises what it refuses with."""
        outcome = await self._shielded(_Call(handler, command, actor))
        assert isinstance(outcome, Done)
        value: T = outcome.value
        return value

    async def run_once[C: Command, T](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[T]],
        command: C,
        actor: Actor,
        key: Key,
        answer: Callable[[T], Answer],
    ) -> Done[T] | Replayed:
        """Run a command at most once for its key, keeping ``answer(value)`` beside the change."""
        return await self._shielded(_Call(handler, command, actor, key, answer))

    async def view[T](self, query: Callable[[View], Awaitable[T]]) -> T:
        """Run a query in a read-only transaction."""
        async with self.database.view() as connection:
            return await query(View(connection, self.clock.now_us()))

    async def drain(self) -> None:
        """Wait for every command that still runs, those of cancelled requests included."""
        while self._running:
            await asyncio.wait(self._running)

    async def _shielded[C: Command, T](self, call: _Call[C, T]) -> Done[T] | Replayed:
        task = asyncio.create_task(self._audited(call, uuid7(self.clock.now_us())))
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: nobody may be left to await it

    async def _audited[C: Command, T](self, call: _Call[C, T], attempt: UUID) -> Done[T] | Replayed:
        actor, action = call.actor, call.command.action
        await self._audit(actor, action, Phase.ATTEMPTED, attempt)
        try:
            return await self._retried(call, attempt)
        except Exception as error:
            code = error.code if isinstance(error, Refusal) else "internal_error"
            await self._audit(actor, action, Phase.FAILED, attempt, code)
            raise

    async def _retried[C: Command, T](self, call: _Call[C, T], attempt: UUID) -> Done[T] | Replayed:
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                return await self._once(call, attempt)
            except Exception as error:  # noqa: BLE001 - raised again, or run again
                if attempts_left == 0 or not is_transient(error):
                    raise_translated(error)
            await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises

    async def _once[C: Command, T](self, call: _Call[C, T], attempt: UUID) -> Done[T] | Replayed:
        async with self.database.begin() as connection:
            uow = UnitOfWork(connection, call.actor, self.clock.now_us(), self._routes)
            outcome: Done[T] | Replayed | None = None
            if call.key is not None and (kept := await replay(uow, call.key)) is not None:
                outcome = Replayed(kept)
            if outcome is None:
                value = await call.handler(uow, call.command)
                outcome = Done(value, call.answer(value) if call.answer is not None else None)
                if call.key is not None and outcome.answer is not None:
                    await keep(uow, call.key, outcome.answer)
            await uow.execute(
                insert_audit(
                    call.actor, call.command.action, Phase.SUCCEEDED, attempt, uow.now_us,
                    subject=_subject(outcome),
                )
            )  # fmt: skip
        return outcome

    async def _audit(
        self, actor: Actor, action: str, phase: Phase, attempt: UUID, code: str | None = None
    ) -> None:
        at_us = self.clock.now_us()
        try:
            async with self.database.begin() as connection:
                await connection.execute(
                    insert_audit(actor, action, phase, attempt, at_us, code=code)
                )
        except Exception as error:  # noqa: BLE001 - raised again
            raise_translated(error)


def _subject(outcome: Done[Any] | Replayed) -> str | None:
    """The id of what the command made or changed, when its value has one."""
    found = getattr(outcome.value, "id", None) if isinstance(outcome, Done) else None
    return None if found is None else str(found)
