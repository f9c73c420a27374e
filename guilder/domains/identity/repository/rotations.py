"""The SQL of rotations: which version is the newest, and what a rotation refuses."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.exc import IntegrityError

from guilder.db.engine import RetryTransaction
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import rotations, sessions
from guilder.domains.identity.rules.rotations import FIRST_VERSION, Rotation


async def version_of(view: View, user_id: UUID) -> int:
    """What a session of a user begins with: the maximum of the bank's version and their own."""
    about = or_(rotations.c.user_id.is_(None), rotations.c.user_id == user_id)
    return await view.scalar(select(func.max(rotations.c.version)).where(about)) or FIRST_VERSION


async def newest_version(view: View) -> int:
    """The highest version that there is, whomever it is about."""
    return await view.scalar(select(func.max(rotations.c.version))) or FIRST_VERSION


async def insert_rotation(uow: UnitOfWork, rotation: Rotation) -> None:
    """Store it.

    Raises ``RetryTransaction`` when another rotation has taken the version meanwhile.
    """
    try:
        await uow.execute(
            rotations.insert().values(
                version=rotation.version,
                user_id=rotation.user_id,
                reason=rotation.reason,
                made_by=rotation.made_by,
                created_at=rotation.created_at,
                effective_at=rotation.effective_at,
            )
        )
    except IntegrityError:
        raise RetryTransaction("two rotations at once") from None


def refused(user_id: Any, version: Any, now_us: int) -> ColumnElement[bool]:
    """Whether a rotation refuses that version of a user's sessions.

    Two look-ups in the index rather than one OR over the table.
    """
    return or_(
        *(
            exists().where(about, rotations.c.version > version, rotations.c.effective_at <= now_us)
            for about in (rotations.c.user_id.is_(None), rotations.c.user_id == user_id)
        )
    )


def refused_at(now_us: int) -> ColumnElement[int]:
    """When the first rotation that refuses a row of ``sessions`` took effect, NULL without one."""
    return (
        select(func.min(rotations.c.effective_at))
        .where(
            rotations.c.version > sessions.c.version,
            rotations.c.effective_at <= now_us,
            or_(rotations.c.user_id.is_(None), rotations.c.user_id == sessions.c.user_id),
        )
        .scalar_subquery()
    )
