"""SQL of the letters that are asked for."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, delete, exists, func, select

from guilder.core.clock import DAY_US
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import letters, sessions, users
from guilder.domains.identity.repository.users import USER, to_user
from guilder.domains.identity.rules.letters import Letter, Purpose
from guilder.domains.identity.rules.users import User


async def insert_letter(uow: UnitOfWork, letter: Letter) -> None:
    """Store that a letter was asked for."""
    await uow.execute(
        letters.insert().values(
            id=letter.id,
            purpose=letter.purpose.value,
            user_id=letter.user_id,
            created_at=letter.created_at,
            expires_at=letter.expires_at,
        )
    )


async def is_to_somebody(view: View, letter_id: UUID) -> bool:
    """Whether there is such a letter, and a user whom it is for."""
    found = select(letters.c.id).where(letters.c.id == letter_id, letters.c.user_id.is_not(None))
    return await view.first(found) is not None


async def has_signed_in_since(view: View, user_id: UUID, instant: int) -> bool:
    """Whether a user has opened a session since then."""
    found = select(sessions.c.id).where(
        sessions.c.user_id == user_id, sessions.c.created_at >= instant
    )
    return await view.first(found.limit(1)) is not None


async def letter_and_user(uow: UnitOfWork, letter_id: UUID) -> tuple[Letter, User] | None:
    """A letter and whose it is, both locked until the transaction ends; None when nobody's."""
    return _found(
        await uow.first(
            _SELECT.where(letters.c.id == letter_id, users.c.is_active).with_for_update()
        )
    )


async def letter_of_token(view: View, hash_: bytes) -> tuple[Letter, User] | None:
    """The letter that brought a token, and its user; in a transaction that writes, locked."""
    statement = _SELECT.where(letters.c.hash == hash_, users.c.is_active)
    if isinstance(view, UnitOfWork):
        statement = statement.with_for_update()
    return _found(await view.first(statement))


async def has_sent_since(view: View, letter: Letter, instant: int) -> bool:
    """Whether another letter of the kind has gone to the same user since then.

    One whose token was made void holds nothing back: whoever asks again has none that is good.
    """
    return await _has_another(
        view, letter, letters.c.sent_at >= instant, letters.c.used_at.is_(None)
    )


async def _has_another(view: View, letter: Letter, *conditions: ColumnElement[bool]) -> bool:
    """Whether there is another letter of the kind to the same user that fits."""
    another = exists().where(
        letters.c.user_id == letter.user_id,
        letters.c.purpose == letter.purpose.value,
        letters.c.id != letter.id,
        *conditions,
    )
    return bool(await view.scalar(select(another)))


async def sent_since(view: View, letter: Letter, mailbox: bytes, instant: int) -> int:
    """How many other letters of the kinds that count have gone to a mailbox since then."""
    counted = select(func.count()).where(
        letters.c.mailbox == mailbox,
        letters.c.id != letter.id,
        letters.c.sent_at >= instant,
        letters.c.purpose.in_([one.value for one in Purpose if one.most_a_day]),
    )
    return int(await view.scalar(counted))


async def is_under_way(view: View, letter: Letter, since: int) -> bool:
    """Whether another letter of the kind to the same user was claimed since then and not sent."""
    return await _has_another(
        view, letter, letters.c.sent_at.is_(None), letters.c.claimed_at > since
    )


async def claim(
    uow: UnitOfWork, letter_id: UUID, mailbox: bytes, hash_: bytes | None, expires_at: int
) -> None:
    """A letter is about to go to a mailbox, with the token of that hash, which is good until then.

    A mailbox is named by ``mailbox_key``.
    """
    await uow.execute(
        letters.update()
        .where(letters.c.id == letter_id)
        .values(claimed_at=uow.now_us, mailbox=mailbox, hash=hash_, expires_at=expires_at)
    )


async def mark_sent(uow: UnitOfWork, letter_id: UUID) -> None:
    """A letter has gone."""
    await uow.execute(letters.update().where(letters.c.id == letter_id).values(sent_at=uow.now_us))


async def invalidate_tokens(uow: UnitOfWork, user_id: UUID, purpose: Purpose) -> None:
    """No token that a user was sent for a purpose is good any more."""
    await uow.execute(
        letters.update()
        .where(
            letters.c.user_id == user_id,
            letters.c.purpose == purpose.value,
            letters.c.used_at.is_(None),
        )
        .values(used_at=uow.now_us)
    )


async def has_old(view: View) -> bool:
    """Whether there are letters to prune."""
    return bool(await view.scalar(select(exists(_old(view)))))


async def prune_letters(uow: UnitOfWork, most: int) -> int:
    """Forget letters whose token expired more than a day ago; tells how many."""
    old = _old(uow).limit(most)
    done = await uow.execute(delete(letters).where(letters.c.id.in_(old)))
    return done.rowcount


def _old(view: View) -> Select[tuple[UUID]]:
    return select(letters.c.id).where(letters.c.expires_at < view.now_us - DAY_US)


async def sessions_before(view: View, user_id: UUID, session_id: UUID) -> int:
    """How many sessions a user had opened before that one."""
    counted = select(func.count()).where(sessions.c.user_id == user_id, sessions.c.id < session_id)
    return int(await view.scalar(counted))


_SELECT = select(
    *USER,
    letters.c.id.label("letter_id"),
    letters.c.purpose,
    letters.c.created_at.label("asked_at"),
    letters.c.expires_at,
    letters.c.sent_at,
    letters.c.used_at,
).join(users, users.c.id == letters.c.user_id)


def _found(row: Row[Any] | None) -> tuple[Letter, User] | None:
    if row is None:
        return None
    letter = Letter(
        row.letter_id,
        Purpose(row.purpose),
        row.id,
        row.asked_at,
        row.expires_at,
        row.sent_at,
        row.used_at,
    )
    return letter, to_user(row)
