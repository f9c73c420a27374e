"""Rotation after a breach: what was given out before is refused, for one user or for everybody.

The other half is where sessions and tokens are proved: nothing is changed in them, they are older
than a rotation. So it takes one row however many sessions there are, and who signs in while a
rotation commits is either after it or refused by it.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from guilder.core.clock import SECOND_US
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.errors import UserNotFound
from guilder.domains.identity.repository import rotations, users
from guilder.domains.identity.rules.rotations import Rotation


@dataclass(frozen=True, slots=True)
class RotateAll:
    """Refuse every session and token of before, the actor's too, once the grace is over."""

    action: ClassVar[str] = "security.rotate"
    reason: str
    grace_seconds: int = 0


async def rotate_all(uow: UnitOfWork, cmd: RotateAll) -> Rotation:
    """Store the rotation."""
    return await _rotate(uow, None, cmd.reason, cmd.grace_seconds)


@dataclass(frozen=True, slots=True)
class RotateUser:
    """Refuse every session and token that a user has been given so far, once the grace is over."""

    action: ClassVar[str] = "user.rotate"
    user_id: UUID
    reason: str
    grace_seconds: int = 0


async def rotate_user(uow: UnitOfWork, cmd: RotateUser) -> Rotation:
    """Store the rotation. Raises ``UserNotFound``."""
    if await users.user(uow, cmd.user_id) is None:
        raise UserNotFound()
    return await _rotate(uow, cmd.user_id, cmd.reason, cmd.grace_seconds)


async def _rotate(
    uow: UnitOfWork, user_id: UUID | None, reason: str, grace_seconds: int
) -> Rotation:
    rotation = Rotation(
        version=await rotations.newest_version(uow) + 1,
        user_id=user_id,
        reason=reason,
        made_by=uow.actor.name,
        created_at=uow.now_us,
        effective_at=uow.now_us + grace_seconds * SECOND_US,
    )
    await rotations.insert_rotation(uow, rotation)
    return rotation
