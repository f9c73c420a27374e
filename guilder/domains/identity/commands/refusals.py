"""What is refused and written down: the trail names the code, and wrong guesses are counted.

Each stands in the trail under the action that was wanted, so that whoever asks for its failures
finds them. Wrong passwords are counted for an address as such, so that the answer does not tell
whether it has a user. A device that the user has signed in from before has a count of its own: a
stranger's guesses do not lock the owner out.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from guilder.core.errors import Refusal
from guilder.core.result import Err
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.letters import queue_letter
from guilder.domains.identity.commands.sessions import OpenSession
from guilder.domains.identity.commands.step_up import StepUp
from guilder.domains.identity.commands.users import ChangePassword
from guilder.domains.identity.repository import failures
from guilder.domains.identity.rules.letters import Purpose


@dataclass(frozen=True, slots=True)
class RefuseSignIn:
    """Let nobody in, for this reason; ``user_id`` is who was meant, where there is such a user.

    A wrong guess is counted under its ``key``; ``letter`` is what the user is told when that locks,
    None for nothing. Without a key it was no guess, and they are told at once.
    """

    action: ClassVar[str] = OpenSession.action
    refusal: Refusal
    user_id: UUID | None = None
    key: bytes | None = None
    letter: Purpose | None = None


@dataclass(frozen=True, slots=True)
class RefuseStepUp(RefuseSignIn):
    """The same of a step-up."""

    action: ClassVar[str] = StepUp.action


@dataclass(frozen=True, slots=True)
class RefusePasswordChange(RefuseSignIn):
    """The same of a change of the password."""

    action: ClassVar[str] = ChangePassword.action


async def refuse(uow: UnitOfWork, cmd: RefuseSignIn) -> Err[Refusal]:
    """Count it; enough of them lock. A letter is asked for even when there is nobody to tell."""
    uow.audit(cmd.user_id)
    if cmd.key is not None:
        now = await failures.count_failure(uow, cmd.key, cmd.user_id)
        uow.audit(locked=now.locked_seconds(uow.now_us) > 0)
        if now.locked_until > uow.now_us and now.last_at == uow.now_us:
            told = cmd.user_id if cmd.letter else None
            await queue_letter(uow, cmd.letter or Purpose.LOCK, told)
    elif cmd.letter is not None:
        await queue_letter(uow, cmd.letter, cmd.user_id)
    return Err(cmd.refusal)
