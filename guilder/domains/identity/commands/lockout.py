"""Lockout: wrong passwords are counted, and after some of them nobody may sign in for a while.

They are counted for an address as such, so that the answer does not tell whether it has a user. A
device that the user has signed in from before has a count of its own: a stranger's guesses do not
lock the owner out.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.letters import queue_letter
from guilder.domains.identity.repository import failures
from guilder.domains.identity.rules.letters import Purpose


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
    now = await failures.count_failure(uow, cmd.key, cmd.user_id)
    uow.audit(cmd.user_id, locked=now.locked_seconds(uow.now_us) > 0)
    if now.locked_until > uow.now_us and now.last_at == uow.now_us:
        await queue_letter(uow, cmd.letter or Purpose.LOCK, cmd.user_id if cmd.letter else None)
