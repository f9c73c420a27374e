"""Attempts on one key take turns, and none is made while it is locked."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Never
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.errors import Refusal
from guilder.db.run import Runner
from guilder.domains.identity.commands.refusals import (
    RefusePasswordChange,
    RefuseSignIn,
    RefuseStepUp,
    refuse,
)
from guilder.domains.identity.errors import AccountLocked
from guilder.domains.identity.queries import check_not_locked
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.lockout import Locked

_REFUSED: Final[Mapping[Locked, type[RefuseSignIn]]] = {
    Locked.SIGN_IN: RefuseSignIn,
    Locked.SECOND_FACTOR: RefuseSignIn,
    Locked.STEP_UP: RefuseStepUp,
    Locked.CHANGE: RefusePasswordChange,
}


@dataclass(frozen=True, slots=True)
class Guess:
    """A password or a code that somebody gives, and ``what`` for.

    Wrong ones are counted under ``key``. ``user_id`` is whose it should be, where there is such a
    user; ``letter`` is what they are told when it locks, None for nothing.
    """

    key: bytes
    what: Locked
    actor: Actor
    user_id: UUID | None = None
    letter: Purpose | None = None


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
    async def attempt(self, guess: Guess) -> AsyncIterator[None]:
        """A block that checks the guess. Raises ``AccountLocked``, which says what is locked."""
        turn = self._turns.setdefault(guess.key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                try:
                    await self._runner.view(check_not_locked, guess.key, guess.what)
                except AccountLocked as locked:
                    refused = _REFUSED[guess.what](locked, guess.user_id)
                    await self._runner.refuse(refuse, refused, guess.actor)
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._turns.pop(guess.key, None)

    async def refuse(self, guess: Guess, refusal: Refusal) -> Never:
        """Count a wrong guess, within the attempt, and raise the refusal."""
        refused = _REFUSED[guess.what](refusal, guess.user_id, guess.key, guess.letter)
        await self._runner.refuse(refuse, refused, guess.actor)
