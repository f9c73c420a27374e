"""Every SQL statement of identity."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, select, true
from sqlalchemy.exc import IntegrityError

from guilder.core.actor import Role
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.errors import EmailTaken
from guilder.domains.identity.models import sessions, users
from guilder.domains.identity.rules import Session, User, email_key

_USER: Final = (
    users.c.id,
    users.c.email,
    users.c.full_name,
    users.c.role,
    users.c.is_active,
    users.c.email_verified,
    users.c.created_at,
)


async def insert_user(uow: UnitOfWork, user: User, password_hash: str) -> None:
    """Store a user; refuses an address that another has, also one who comes at the same moment."""
    try:
        await uow.execute(
            users.insert().values(
                id=user.id,
                email=user.email,
                email_key=email_key(user.email),
                full_name=user.full_name,
                password_hash=password_hash,
                role=user.role.value,
                is_active=user.is_active,
                email_verified=user.email_verified,
                created_at=user.created_at,
            )
        )
    except IntegrityError:
        raise EmailTaken() from None


async def find_by_email(view: View, email: str) -> tuple[User, str] | None:
    """The user of an address with the hash of the password: for logging in, when nobody is in."""
    row = await view.first(
        select(*_USER, users.c.password_hash).where(users.c.email_key == email_key(email))
    )
    return None if row is None else (_user(row), row.password_hash)


async def find_active_user(view: View, user_id: UUID) -> User | None:
    """A user who may come in."""
    row = await view.first(select(*_USER).where(users.c.id == user_id, users.c.is_active == true()))
    return None if row is None else _user(row)


async def find_user_of_session(view: View, session_id: UUID, user_id: UUID) -> User | None:
    """The active user whose session it is, while it lasts."""
    row = await view.first(
        select(*_USER)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(
            sessions.c.id == session_id,
            sessions.c.expires_at > view.now_us,
            users.c.id == user_id,
            users.c.is_active == true(),
        )
    )
    return None if row is None else _user(row)


async def insert_session(uow: UnitOfWork, session: Session, refresh_hash: bytes) -> None:
    """Store a session."""
    await uow.execute(
        sessions.insert().values(
            id=session.id,
            user_id=session.user_id,
            refresh_hash=refresh_hash,
            device_info=session.device_info,
            ip_address=session.ip_address,
            created_at=session.created_at,
            expires_at=session.expires_at,
        )
    )


def _user(row: Row[Any]) -> User:
    return User(
        row.id,
        row.email,
        row.full_name,
        Role(row.role),
        row.is_active,
        row.email_verified,
        row.created_at,
    )
