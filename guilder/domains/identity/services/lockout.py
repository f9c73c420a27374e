"""Attempts on one key take turns, and none is made while it is locked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from guilder.core.actor import Actor
from guilder.db.run import Runner
from guilder.domains.identity.commands.lockout import CountFailure, count_failure
from guilder.domains.identity.queries import check_not_locked
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.lockout import Locked


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class AttemptGuard:
    """Serialises the attempts on a key in this process, and admits none while it is locked.

    So guesses that arrive together get no more tries than in a row: five, and one more for every
    other process.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._turns: dict[bytes, _Turn] = {}

    @asynccontextmanager
    async def attempt(self, key: bytes, what: Locked) -> AsyncIterator[None]:
        """A block that checks a password or a code. Raises ``AccountLocked``, which says what."""
        turn = self._turns.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                await self._runner.view(check_not_locked, key, what)
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._turns.pop(key, None)

    async def record_failure(
        self,
        key: bytes,
        actor: Actor,
        user_id: UUID | None = None,
        letter: Purpose | None = None,
    ) -> None:
        """Count a wrong password, within the attempt; ``user_id`` is whose, where that is known."""
        await self._runner.run(count_failure, CountFailure(key, user_id, letter), actor)
