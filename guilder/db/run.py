"""The runner: the one place that commits ordinary work, and what arrives together at once.

An audited command leaves an ATTEMPTED row before it starts and SUCCEEDED or FAILED after; the
success is written in the command's own transaction, the failure in one of its own, so that it
survives the rollback. Both say what the command told of itself by ``uow.audit``, and a success that
told no subject has the id of what the command returned. A command that meets a deadlock or a busy
database runs again, whole.

A command that raises a refusal leaves nothing behind. One that returns ``Err`` is refused all the
same, and what it wrote is kept: counts of wrong guesses, say, and the letter about them. It has
no other outcome.

Attempts and failures that arrive together are one commit, see ``Trail``. So are calls of a command
that is ``SetBased``: one group of them in flight a process, and all that has arrived meanwhile is
the next. Each has its own outcome, its own row of the trail and its own answer. The commit of a
group has the attempts of the next in it, so that there is one for each group.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, Concatenate, Final, Never

from guilder.core.actor import Actor
from guilder.core.clock import Clock
from guilder.core.errors import Refusal, Unavailable
from guilder.core.events import EventRoutes
from guilder.core.ids import uuid7
from guilder.core.ports import NO_STEP, AuditSigner, Tracer
from guilder.core.result import Err
from guilder.db.audit import AuditEntry, Phase, append
from guilder.db.calls import Call, Command, Done, Outcome, Replayed, SetBased, run_together
from guilder.db.deliveries import check_event_routes
from guilder.db.digest_proof import digester_of
from guilder.db.digests import NOTHING_CHANGED, Digester
from guilder.db.engine import Database, is_transient, raise_translated
from guilder.db.gathering import Gatherer
from guilder.db.health import touch
from guilder.db.idempotency import Answer, Key
from guilder.db.reader import LightReader, Reader, ToldRead
from guilder.db.trail import Trail, unavailable
from guilder.db.unit_of_work import NO_EVENT_ROUTES, UnitOfWork, View

__all__ = ["COMMAND_ATTEMPTS", "RERUN_SECONDS", "Command", "Done", "Replayed", "Runner"]

COMMAND_ATTEMPTS: Final = 4
RERUN_SECONDS: Final = 8.0
"""After which a command that met a busy database is not run again."""


type _Call = Call[Any, Any]
type _Group = Gatherer[_Call, Outcome | None]


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
        self._groups: dict[object, _Group] = {}
        self._running: set[asyncio.Task[Any]] = set()

    async def run[C: Command, T](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[T]],
        command: C,
        actor: Actor,
    ) -> T:
        """Run a command and return its value. Raises the refusal of the command."""
        outcome = await self._shielded(self._call(handler, command, actor))
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
        await self._shielded(self._call(handler, command, actor))
        raise AssertionError("a command that only refuses has done something")

    async def pretend[C: Command](
        self, handler: Callable[[UnitOfWork, C], Awaitable[Any]], command: C, actor: Actor
    ) -> None:
        """Do the work of ``run`` and keep nothing of it: for what nobody may tell from a real one.

        Where that commits, a row is changed that is there anyway.
        """
        call = self._call(handler, command, actor)
        try:
            await self._trail.tell()
            async with self.database.begin() as connection:
                uow = UnitOfWork(connection, actor, self.clock.now_us(), self._routes)
                entry = call.entry(Phase.SUCCEEDED, uow.now_us)
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
        return await self._shielded(self._call(handler, command, actor, key, answer))

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

    async def read[T, **P](
        self,
        query: Callable[Concatenate[Reader, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``query(reader, *args, **kwargs)`` without a transaction around it.

        Each of its statements sees what is committed when it runs: right for one statement, and for
        several of which the later ones ask for what never changes, or stays true. What it tells of
        itself is in the audit trail before this returns.
        """
        name = getattr(query, "__name__", "read")
        reader = LightReader(self.database.light, self.clock.now_us(), self._tracer)
        with NO_STEP if self._tracer is None else self._tracer.span(name):
            try:
                value = await query(reader, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - raised again
                raise_translated(error)
            for read in reader.told_reads:
                await self._told(read)
        return value

    async def drain(self) -> None:
        """Wait for every command that still runs, those of cancelled requests included."""
        while self._running:
            await asyncio.wait(self._running)
        await self._trail.drain()

    def _call[C: Command, T](
        self,
        handler: Callable[[UnitOfWork, C], Awaitable[T]],
        command: C,
        actor: Actor,
        key: Key | None = None,
        answer: Callable[[T], Answer] | None = None,
    ) -> Call[C, T]:
        return Call(handler, command, actor, uuid7(self.clock.now_us()), key, answer)

    async def _shielded[C: Command, T](self, call: Call[C, T]) -> Done[T] | Replayed:
        with NO_STEP if self._tracer is None else self._tracer.span(call.command.action):
            task = asyncio.create_task(self._audited(call))
            self._running.add(task)
            task.add_done_callback(self._finished)
            return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: nobody may be left to await it

    async def _audited[C: Command, T](self, call: Call[C, T]) -> Done[T] | Replayed:
        try:
            outcome = await self._outcome(call)
        except Exception as error:
            if call.is_told:
                code = error.code if isinstance(error, Refusal) else "internal_error"
                await self._trail.tell(call.entry(Phase.FAILED, self.clock.now_us(), code))
            raise
        return outcome.unwrap() if isinstance(outcome, Err) else outcome

    async def _outcome(self, call: _Call) -> Outcome:
        if isinstance(call.handler, SetBased):
            outcome = await self._group_of(call.handler).submit(call)
            if outcome is not None:
                return outcome
        else:
            await self._tell(call)
        (outcome,) = await self._retried([call])
        return outcome

    async def _tell(self, call: _Call) -> None:
        await self._trail.tell(call.entry(Phase.ATTEMPTED, self.clock.now_us()))
        call.is_told = True

    def _group_of(self, handler: object) -> _Group:
        if (group := self._groups.get(handler)) is None:
            group = Gatherer(self._grouped, lambda call: call.is_told)
            self._groups[handler] = group
        return group

    async def _grouped(self, calls: list[_Call]) -> Sequence[Outcome | Exception | None]:
        """Run calls once their attempts are told, which the group before has done if there was one.

        Whose attempt cannot be told is answered with why, and does not run.
        """
        untold = [call for call in calls if not call.is_told]
        reasons = await asyncio.gather(*map(self._cannot_tell, untold)) if untold else ()
        answers: dict[_Call, Outcome | Exception | None] = dict(zip(untold, reasons, strict=True))
        told = [call for call in calls if call.is_told]
        answers |= zip(told, await self._together(told), strict=True) if told else ()
        return [answers[call] for call in calls]

    async def _cannot_tell(self, call: _Call) -> Exception | None:
        try:
            await self._tell(call)
        except Exception as error:  # noqa: BLE001 - answered to whom it concerns
            return error
        return None

    async def _together(self, calls: list[_Call]) -> Sequence[Outcome | Exception | None]:
        """Run calls in one transaction; None for each that is to run alone, and has not.

        That are all where the group fails before its commit for what one of them may have done,
        and whoever comes second with a key.
        """
        first = _first_of_each_key(calls)
        group = self._group_of(calls[0].handler)
        try:
            outcomes = dict(zip(first, await self._retried(first, group), strict=True))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            return [None] * len(calls)
        except Unavailable as error:
            return [unavailable(error.__cause__ or error) for _ in calls]
        except Exception as error:  # noqa: BLE001 - raised again, or met again by who runs alone
            was_alone = len(calls) == 1 and not group.waiting
            is_last_word = was_alone or calls[0].commits
            return [error if is_last_word else None for _ in calls]
        return [outcomes.get(call) for call in calls]

    async def _retried(self, calls: Sequence[_Call], group: _Group | None = None) -> list[Outcome]:
        deadline = monotonic() + RERUN_SECONDS
        for attempts_left in reversed(range(COMMAND_ATTEMPTS)):
            try:
                return await self._once(calls, group)
            except Exception as error:  # noqa: BLE001 - raised again, or run again
                if attempts_left == 0 or not is_transient(error) or monotonic() > deadline:
                    raise_translated(error)
            await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises

    async def _once(self, calls: Sequence[_Call], group: _Group | None) -> list[Outcome]:
        """Run calls and commit, with the attempts of those that wait for the next of a group."""
        async with self.database.begin() as connection:
            now_us = self.clock.now_us()
            units = [UnitOfWork(connection, call.actor, now_us, self._routes) for call in calls]
            for call, uow in zip(calls, units, strict=True):
                call.details, call.commits = uow.audit_details, False
            outcomes = await run_together(calls, units)
            told = zip(calls, units, outcomes, strict=True)
            entries = [await self._entry(*one) for one in told]
            next_ones = [] if group is None else [one for one in group.waiting if not one.is_told]
            entries += [one.entry(Phase.ATTEMPTED, self.clock.now_us()) for one in next_ones]
            await append(connection, entries, self.signer)
            for call in calls:
                call.commits = True
        for one in next_ones:
            one.is_told = True
        return outcomes

    async def _entry(self, call: _Call, uow: UnitOfWork, outcome: Outcome) -> AuditEntry:
        phase, code = Phase.SUCCEEDED, None
        if isinstance(outcome, Err):
            phase, code = Phase.FAILED, outcome.refusal.code
        return call.entry(phase, uow.now_us, code, await self._digests(uow))

    async def _digests(self, uow: UnitOfWork) -> str:
        """What the trail says of the rows that the command has changed."""
        if not uow.row_changes:
            return NOTHING_CHANGED
        if self._digester is None:
            self._digester = await digester_of(uow)
        return uow.row_changes.document(self._digester)

    async def _told(self, read: ToldRead) -> None:
        """Both phases of a read at once, for it is over."""
        now_us = self.clock.now_us()
        attempt, (actor, action, details) = uuid7(now_us), read
        begun = AuditEntry(now_us, attempt, action, Phase.ATTEMPTED, actor)
        done = AuditEntry(now_us, attempt, action, Phase.SUCCEEDED, actor, None, details)
        await self._trail.tell(begun, done)


def _first_of_each_key(calls: Sequence[_Call]) -> list[_Call]:
    """Calls without those whose key a call before them has: these find what that one has done."""
    seen: set[bytes] = set()
    first = []
    for call in calls:
        if call.key is not None:
            if call.key.digest in seen:
                continue
            seen.add(call.key.digest)
        first.append(call)
    return first
