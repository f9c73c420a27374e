"""The runner: the one place that commits ordinary work.

An audited command leaves an ATTEMPTED row before it starts and SUCCEEDED or FAILED after; the
success is written in the command's own transaction, the failure in one of its own, so that it
survives the rollback. Both say what the command told of itself by ``uow.audit``, and a success that
told no subject has the id of what the command returned. A command that meets a deadlock or a busy
database runs again, whole.

A command that raises a refusal leaves nothing behind. One that returns ``Err`` is refused all the
same, and what it wrote is kept: counts of wrong guesses, say, and the letter about them. It has
no other outcome.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, ClassVar, Concatenate, Final, Never, Protocol
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.clock import Clock
from guilder.core.errors import Refusal
from guilder.core.events import EventRoutes
from guilder.core.ids import uuid7
from guilder.core.ports import NO_STEP, AuditSigner, Tracer
from guilder.core.result import Err
from guilder.db.audit import AuditDetails, AuditEntry, Phase, append
from guilder.db.deliveries import check_event_routes
from guilder.db.digest_proof import digester_of
from guilder.db.digests import NOTHING_CHANGED, Digester
from guilder.db.engine import Database, is_transient, raise_translated
from guilder.db.health import touch
from guilder.db.idempotency import Answer, Key, keep, replay
from guilder.db.trail import Trail
from guilder.db.unit_of_work import NO_EVENT_ROUTES, ToldRead, UnitOfWork, View

COMMAND_ATTEMPTS: Final = 4
RERUN_SECONDS: Final = 8.0
"""After which a command that met a busy database is not run again."""


class Command(Protocol):
    """A frozen dataclass of intent; ``action`` is its name in the audit trail.

    What a client may send again under an idempotency key holds only what the client has asked for:
    its fields are what tells the request from another.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
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


@dataclass(slots=True)
class _Attempt:
    """One attempt at a command in the audit trail, and what its last run has told of itself."""

    id: UUID
    details: AuditDetails = field(default_factory=AuditDetails)


class Runner:
    """Runs commands in units of work and queries in views.

    ``routes`` tells whom their events are delivered to; without any they are only kept. Without a
    ``signer`` the trail's rows carry no key. A ``tracer`` shows commands and queries as steps.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        routes: EventRoutes = NO_EVENT_ROUTES,
        signer: AuditSigner | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.signer = signer
        self._tracer = tracer
        self._routes = check_event_routes(routes)
        self._digester: Digester | None = None
        self._trail = Trail(database, clock, signer)
        self._running: set[asyncio.Task[Any]] = set()

    async def run[C: Command, T](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[T]],
        command: C,
        actor: Actor,
    ) -> T:
        """Run a command and return its value. Raises the refusal of the command."""
        outcome = await self._shielded(_Call(handler, command, actor))
        assert isinstance(outcome, Done)
        value: T = outcome.value
        return value

    async def refuse[C: Command](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[Err[Any]]],
        command: C,
        actor: Actor,
    ) -> Never:
        """Run a command that says why it refuses, and raise that once it has been committed."""
        await self._shielded(_Call(handler, command, actor))
        raise AssertionError("a command that only refuses has done something")

    async def pretend[C: Command](
        self, handler: Callable[[UnitOfWork, C], Awaitable[Any]], command: C, actor: Actor
    ) -> None:
        """Do the work of ``run`` and keep nothing of it: for what nobody may tell from a real one.

        Where that commits, a row is changed that is there anyway.
        """
        call = _Call(handler, command, actor)
        try:
            await self._trail.tell()
            async with self.database.begin() as connection:
                uow = UnitOfWork(connection, actor, self.clock.now_us(), self._routes)
                entry = _entry(call, _Attempt(uuid7(uow.now_us)), Phase.SUCCEEDED, uow.now_us)
                async with connection.begin_nested() as inner:
                    await handler(uow, command)
                    await append(connection, [entry], self.signer)
                    await inner.rollback()
                await connection.execute(touch(self.clock))
        except Exception as error:  # noqa: BLE001 - raised again
            raise_translated(error)

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

    async def view[T, **P](
        self, query: Callable[Concatenate[View, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``query(view, *args, **kwargs)`` in a read-only transaction.

        What it tells of itself, see ``tell_read``, is in the audit trail before this returns.
        """
        name = getattr(query, "__name__", "view")
        with NO_STEP if self._tracer is None else self._tracer.span(name):
            async with self.database.view() as connection:
                view = View(connection, self.clock.now_us())
                value = await query(view, *args, **kwargs)
            for read in view.told_reads:
                await self._told(read)
        return value

    async def drain(self) -> None:
        """Wait for every command that still runs, those of cancelled requests included."""
        while self._running:
            await asyncio.wait(self._running)
        await self._trail.drain()

    async def _shielded[C: Command, T](self, call: _Call[C, T]) -> Done[T] | Replayed:
        attempt = _Attempt(uuid7(self.clock.now_us()))
        with NO_STEP if self._tracer is None else self._tracer.span(call.command.action):
            task = asyncio.create_task(self._audited(call, attempt))
            self._running.add(task)
            task.add_done_callback(self._finished)
            return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: nobody may be left to await it

    async def _audited[C: Command, T](
        self, call: _Call[C, T], attempt: _Attempt
    ) -> Done[T] | Replayed:
        await self._audit(call, attempt, Phase.ATTEMPTED)
        try:
            outcome = await self._retried(call, attempt)
        except Exception as error:
            code = error.code if isinstance(error, Refusal) else "internal_error"
            await self._audit(call, attempt, Phase.FAILED, code)
            raise
        return outcome.unwrap() if isinstance(outcome, Err) else outcome

    async def _retried[C: Command, T](
        self, call: _Call[C, T], attempt: _Attempt
    ) -> Done[T] | Replayed | Err[Any]:
        deadline = monotonic() + RERUN_SECONDS
        for attempts_left in reversed(range(COMMAND_ATTEMPTS)):
            try:
                return await self._once(call, attempt)
            except Exception as error:  # noqa: BLE001 - raised again, or run again
                if attempts_left == 0 or not is_transient(error) or monotonic() > deadline:
                    raise_translated(error)
            await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises

    async def _once[C: Command, T](
        self, call: _Call[C, T], attempt: _Attempt
    ) -> Done[T] | Replayed | Err[Any]:
        async with self.database.begin() as connection:
            uow = UnitOfWork(connection, call.actor, self.clock.now_us(), self._routes)
            attempt.details = uow.audit_details
            outcome = await self._outcome(uow, call)
            phase, code = Phase.SUCCEEDED, None
            if isinstance(outcome, Err):
                phase, code = Phase.FAILED, outcome.refusal.code
            entry = _entry(call, attempt, phase, uow.now_us, code)
            entry = replace(entry, digests=await self._digests(uow))
            await append(connection, [entry], self.signer)
        return outcome

    async def _outcome[C: Command, T](
        self, uow: UnitOfWork, call: _Call[C, T]
    ) -> Done[T] | Replayed | Err[Any]:
        """Run the command, unless it has been answered before under its key."""
        if call.key is not None and (kept := await replay(uow, call.key)) is not None:
            uow.audit(replayed=True)
            return Replayed(kept)
        value = await call.handler(uow, call.command)
        if isinstance(value, Err):
            return value
        outcome = Done(value, call.answer(value) if call.answer is not None else None)
        if call.key is not None and outcome.answer is not None:
            await keep(uow, call.key, outcome.answer)
        if uow.audit_details.subject is None:
            uow.audit(subject=getattr(value, "id", None))
        return outcome

    async def _digests(self, uow: UnitOfWork) -> str:
        """What the trail says of the rows that the command has changed."""
        if not uow.row_changes:
            return NOTHING_CHANGED
        if self._digester is None:
            self._digester = await digester_of(uow)
        return uow.row_changes.document(self._digester)

    async def _audit(
        self, call: _Call[Any, Any], attempt: _Attempt, phase: Phase, code: str | None = None
    ) -> None:
        await self._trail.tell(_entry(call, attempt, phase, self.clock.now_us(), code))

    async def _told(self, read: ToldRead) -> None:
        """Both phases of a read at once, for it is over."""
        now_us = self.clock.now_us()
        attempt, (actor, action, details) = uuid7(now_us), read
        begun = AuditEntry(now_us, attempt, action, Phase.ATTEMPTED, actor)
        done = AuditEntry(now_us, attempt, action, Phase.SUCCEEDED, actor, None, details)
        await self._trail.tell(begun, done)


def _entry(
    call: _Call[Any, Any], attempt: _Attempt, phase: Phase, at_us: int, code: str | None = None
) -> AuditEntry:
    action = call.command.action
    return AuditEntry(at_us, attempt.id, action, phase, call.actor, code, attempt.details)
