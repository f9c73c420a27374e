"""Calls of commands: what the runner is asked to do, and what comes of it in one transaction."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.errors import Refusal
from guilder.core.result import Err, Ok
from guilder.db.audit import AuditDetails, AuditEntry, Phase
from guilder.db.idempotency import Answer, Key, keep, replay
from guilder.db.unit_of_work import UnitOfWork


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


type Outcome = Done[Any] | Replayed | Err[Any]


@dataclass(slots=True, eq=False)
class Call[C: Command, T]:
    """A command to run: by which function, for whom, and under which key it may be answered.

    ``attempt`` is its id in the trail, and ``is_told`` that the row before it is there.
    ``details`` are what its last run has told of itself, ``commits`` that it came to its commit.
    """

    handler: Callable[[UnitOfWork, C], Awaitable[T]]
    command: C
    actor: Actor
    attempt: UUID
    key: Key | None = None
    answer: Callable[[T], Answer] | None = None
    details: AuditDetails = field(default_factory=AuditDetails)
    is_told: bool = False
    commits: bool = False

    def entry(
        self, phase: Phase, at_us: int, code: str | None = None, digests: str | None = None
    ) -> AuditEntry:
        """A row of its attempt for the trail."""
        action = self.command.action
        return AuditEntry(
            at_us, self.attempt, action, phase, self.actor, code, self.details, digests
        )


class Asked[C](NamedTuple):
    """A command among others of one transaction, with a unit of work of its own.

    What it tells there and the rows that it changes stand in its own row of the trail.
    """

    uow: UnitOfWork
    command: C


class SetBased[C: Command, T]:
    """A command that is written for many calls: those that arrive together share a transaction.

    ``many`` answers them in their order. A call that it refuses is answered with ``Err`` and
    writes nothing; for what is raised all of them run again, each alone.
    """

    def __init__(
        self, many: Callable[[Sequence[Asked[C]]], Awaitable[Sequence[Ok[T] | Err[Refusal]]]]
    ) -> None:
        self.many = many

    async def __call__(self, uow: UnitOfWork, cmd: C) -> T:
        """A call that is alone. Raises its refusal."""
        (answer,) = await self.many([Asked(uow, cmd)])
        return answer.unwrap()


async def run_together(
    calls: Sequence[Call[Any, Any]], units: Sequence[UnitOfWork]
) -> list[Outcome]:
    """Run calls of one handler in one transaction, each with a unit of work of its own.

    A call that has been answered before under its key is not run. No key stands there twice.
    """
    keys = [call.key for call in calls if call.key is not None]
    known = await replay(units[0], keys) if keys else {}
    told = [None if call.key is None else known.get(call.key.digest) for call in calls]
    fresh = [place for place, one in enumerate(told) if one is None]
    asked = [Asked(units[place], calls[place].command) for place in fresh]
    values = iter(await _values(calls[0].handler, asked) if asked else ())
    outcomes: list[Outcome] = []
    for call, uow, one in zip(calls, units, told, strict=True):
        if isinstance(one, Answer):
            uow.audit(replayed=True)
            outcomes.append(Replayed(one))
        else:
            outcomes.append(_outcome(call, uow, next(values)) if one is None else Err(one))
    await _keep(calls, units[0], outcomes)
    return outcomes


async def _values(handler: Any, asked: Sequence[Asked[Any]]) -> Sequence[Ok[Any] | Err[Any]]:
    if isinstance(handler, SetBased):
        answers = await handler.many(asked)
        assert len(answers) == len(asked)
        return answers
    ((uow, command),) = asked
    value = await handler(uow, command)
    return [value if isinstance(value, Err) else Ok(value)]


def _outcome(call: Call[Any, Any], uow: UnitOfWork, value: Ok[Any] | Err[Any]) -> Outcome:
    if isinstance(value, Err):
        return value
    if uow.audit_details.subject is None:
        uow.audit(subject=getattr(value.value, "id", None))
    return Done(value.value, call.answer(value.value) if call.answer is not None else None)


async def _keep(
    calls: Sequence[Call[Any, Any]], uow: UnitOfWork, outcomes: Sequence[Outcome]
) -> None:
    answers = [
        (call.key, outcome.answer)
        for call, outcome in zip(calls, outcomes, strict=True)
        if call.key is not None and isinstance(outcome, Done) and outcome.answer is not None
    ]
    if answers:
        await keep(uow, answers)
