"""Wrong passwords are counted, and after some of them nobody is let in for a while.

They are counted for an address as such, so that the answer does not tell whether it has a user. A
device that the user has signed in from before has a count of its own: a stranger's guesses do not
lock the owner out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

from guilder.core.actor import Actor
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.commands.letters import ask
from guilder.domains.identity.errors import AccountLocked
from guilder.domains.identity.repository import failures
from guilder.domains.identity.rules import Purpose


@dataclass(frozen=True, slots=True)
class CountFailure:
    """A wrong password: of ``user_id``, or of an address that has no user.

    ``letter`` is what the user is told when it locks, None for nothing.
    """

    action: ClassVar[str] = "password.refuse"
    key: bytes
    user_id: UUID | None = None
    letter: Purpose | None = None


async def count_failure(uow: UnitOfWork, cmd: CountFailure) -> None:
    """Count it; enough of them lock. A letter is asked for even when there is nobody to tell."""
    now = await failures.count_failure(uow, cmd.key)
    uow.tell(cmd.user_id, locked=now.locked_seconds(uow.now_us) > 0)
    if now.locked_until > uow.now_us and now.last_at == uow.now_us:
        await ask(uow, cmd.letter or Purpose.LOCK, cmd.user_id if cmd.letter else None)


async def refuse_locked(view: View, key: bytes) -> None:
    """Refuse while the way is locked."""
    known = await failures.failures_of(view, key)
    if known is not None and (seconds := known.locked_seconds(view.now_us)):
        raise AccountLocked(retry_after_seconds=seconds)


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Guard:
    """Lets one attempt a key through at a time, in this process, and none while it is locked.

    So of guesses that arrive together no more are tried than in a row: five, and one more for every
    other process.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._turns: dict[bytes, _Turn] = {}

    @asynccontextmanager
    async def attempt(self, key: bytes) -> AsyncIterator[None]:
        """A block that checks a password; refuses as ``AccountLocked``."""
        turn = self._turns.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                await self._runner.view(refuse_locked, key)
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._turns.pop(key, None)

    async def failed(
        self,
        key: bytes,
        actor: Actor,
        user_id: UUID | None = None,
        letter: Purpose | None = None,
    ) -> None:
        """Count a wrong password, within the attempt; ``user_id`` is whose, where that is known."""
        await self._runner.run(count_failure, CountFailure(key, user_id, letter), actor)
