"""The SQL of changes of addresses."""

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError

from guilder.core.clock import DAY_US
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.errors import EmailTaken
from guilder.domains.identity.models import email_changes, letters
from guilder.domains.identity.repository.users import change_user
from guilder.domains.identity.rules.users import User, email_key

KEPT_US: Final = 30 * DAY_US
"""How long a change is kept; longer than it can wait, be confirmed and be undone."""


class EmailChange(NamedTuple):
    """A change of an address; the letters bring the tokens that confirm it and that undo it.

    Only as long as the session that has asked for it is open, it can be confirmed. The ``number``
    tells which of a user's changes that can be undone was made earlier: instants do not, for clocks
    differ, and one is taken before the wait for a lock.
    """

    letter_id: UUID
    user_id: UUID
    old_email: str
    new_email: str
    created_at: int
    undo_letter_id: UUID | None = None
    session_id: UUID | None = None
    number: int | None = None


async def insert_change(uow: UnitOfWork, change: EmailChange) -> None:
    """Store that a change was asked for."""
    await uow.execute(email_changes.insert().values(change._asdict()))


async def change_of_letter(view: View, letter_id: UUID) -> EmailChange | None:
    """The change that a letter confirms or undoes."""
    row = await view.first(
        select(email_changes).where(
            or_(
                email_changes.c.letter_id == letter_id,
                email_changes.c.undo_letter_id == letter_id,
            )
        )
    )
    return None if row is None else EmailChange(*row)


async def changes_since(view: View, user_id: UUID, instant: int) -> int:
    """How many changes a user has asked for since then."""
    counted = select(func.count()).where(
        email_changes.c.user_id == user_id, email_changes.c.created_at > instant
    )
    return int(await view.scalar(counted))


async def note_undo(uow: UnitOfWork, change: EmailChange, undo_letter_id: UUID) -> None:
    """The change was made, the newest of its user, who is locked; that letter undoes it."""
    newest = select(func.max(email_changes.c.number)).where(
        email_changes.c.user_id == change.user_id
    )
    number = (await uow.scalar(newest) or 0) + 1
    await uow.execute(
        email_changes.update()
        .where(email_changes.c.letter_id == change.letter_id)
        .values(undo_letter_id=undo_letter_id, number=number)
    )


async def end_undos_since(uow: UnitOfWork, change: EmailChange) -> None:
    """Neither this change nor one of the same user that was made later can be undone any more."""
    since = select(email_changes.c.undo_letter_id).where(
        email_changes.c.user_id == change.user_id, email_changes.c.number >= change.number
    )
    await uow.execute(letters.update().where(letters.c.id.in_(since)).values(used_at=uow.now_us))


async def prune_changes(uow: UnitOfWork) -> None:
    """Forget changes that were asked for ``KEPT_US`` ago."""
    await uow.execute(
        email_changes.delete().where(email_changes.c.created_at < uow.now_us - KEPT_US)
    )


async def put_email(uow: UnitOfWork, user_id: UUID, email: str) -> User:
    """Give a user an address, which was proved just now. Raises ``EmailTaken``."""
    values = {"email": email, "email_key": email_key(email)}
    proved = {"email_verified": True, "known_since": uow.now_us}
    try:
        changed = await change_user(uow, user_id, {**values, **proved})
    except IntegrityError:
        raise EmailTaken() from None
    assert changed is not None
    return changed
