"""The SQL of users and sessions."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select, true
from sqlalchemy.exc import IntegrityError

from guilder.core.actor import Actor
from guilder.core.permissions import Role
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.errors import EmailTaken
from guilder.domains.identity.models import refresh_tokens, sessions, totps, users
from guilder.domains.identity.repository.rotations import refused, refused_at
from guilder.domains.identity.rules.factors import Totp
from guilder.domains.identity.rules.sessions import Ending, RefreshToken, Session
from guilder.domains.identity.rules.users import User, UserFilter, email_key

USER: Final = (
    users.c.id,
    users.c.email,
    users.c.full_name,
    users.c.role,
    users.c.is_active,
    users.c.email_verified,
    users.c.created_at,
)
_SESSION: Final = (
    sessions.c.id,
    sessions.c.user_id,
    sessions.c.device_info,
    sessions.c.ip_address,
    sessions.c.created_at,
    sessions.c.last_activity_at,
    sessions.c.expires_at,
    sessions.c.generation,
    sessions.c.version,
    sessions.c.location,
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


async def find_by_email(view: View, email: str) -> User | None:
    """The user of an address."""
    row = await view.first(select(*USER).where(users.c.email_key == email_key(email)))
    return None if row is None else to_user(row)


class LoginFacts(NamedTuple):
    """What a login is decided by, when nobody is in yet."""

    user: User
    password_hash: str
    is_known_device: bool
    totp: Totp | None


async def find_for_login(
    view: View, email: str, ip_address: str, device_info: str | None
) -> LoginFacts | None:
    """The user of an address with their authenticator app, and whether they have signed in with
    this device from there before.

    One statement, so that an address without a user takes as long.
    """
    known = _has_signed_in(users.c.id, ip_address, device_info)
    active = and_(totps.c.user_id == users.c.id, totps.c.confirmed_at.is_not(None))
    row = await view.first(
        select(
            *USER,
            users.c.password_hash,
            known.label("known"),
            totps.c.secret,
            totps.c.created_at.label("totp_created_at"),
            totps.c.confirmed_at,
            totps.c.last_step,
        )
        .outerjoin(totps, active)
        .where(users.c.email_key == email_key(email))
    )
    if row is None:
        return None
    totp = None
    if row.secret is not None:
        totp = Totp(row.id, row.secret, row.totp_created_at, row.confirmed_at, row.last_step)
    return LoginFacts(to_user(row), row.password_hash, bool(row.known), totp)


async def is_known_device(
    view: View, user_id: UUID, ip_address: str, device_info: str | None
) -> bool:
    """Whether a user has signed in with this device from there before."""
    return bool(await view.scalar(select(_has_signed_in(user_id, ip_address, device_info))))


def _has_signed_in(
    user_id: UUID | ColumnElement[UUID], ip_address: str, device_info: str | None
) -> ColumnElement[bool]:
    return exists().where(
        sessions.c.user_id == user_id,
        sessions.c.ip_address == ip_address,
        sessions.c.device_info == device_info,
    )


async def find_active_user(view: View, user_id: UUID) -> User | None:
    """A user who may come in."""
    row = await view.first(select(*USER).where(users.c.id == user_id, users.c.is_active == true()))
    return None if row is None else to_user(row)


async def find_user_of_session(
    view: View, session_id: UUID, user_id: UUID, version: int
) -> tuple[User, int | None] | None:
    """The active user whose session it is, and when they last proved themselves.

    While the session lasts and no rotation refuses the version.
    """
    row = await view.first(
        select(*USER, sessions.c.proved_at)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(
            sessions.c.id == session_id,
            sessions.c.ended_at.is_(None),
            sessions.c.expires_at > view.now_us,
            users.c.id == user_id,
            users.c.is_active == true(),
            ~refused(users.c.id, version, view.now_us),
        )
    )
    return None if row is None else (to_user(row), row.proved_at)


async def lock_active_user(uow: UnitOfWork, user_id: UUID) -> tuple[User, str] | None:
    """A user who may come in, with the hash of the password; nobody changes either meanwhile."""
    row = await uow.first(
        select(*USER, users.c.password_hash)
        .where(users.c.id == user_id, users.c.is_active == true())
        .with_for_update()
    )
    return None if row is None else (to_user(row), row.password_hash)


async def find_with_password(view: View, actor: Actor) -> tuple[User, str] | None:
    """The acting user with the hash of the password, while they may come in."""
    row = await view.first(
        select(*USER, users.c.password_hash).where(
            users.c.id == actor.user_id, users.c.is_active == true()
        )
    )
    return None if row is None else (to_user(row), row.password_hash)


async def lock_active_admins(uow: UnitOfWork) -> list[UUID]:
    """Who can come in as admin; nobody changes that until the transaction ends."""
    rows = await uow.all(
        select(users.c.id)
        .where(users.c.role == Role.ADMIN.value, users.c.is_active == true())
        .order_by(users.c.id)
        .with_for_update()
    )
    return [row.id for row in rows]


async def user(view: View, user_id: UUID) -> User | None:
    """A user, for an admin."""
    row = await view.first(select(*USER).where(users.c.id == user_id))
    return None if row is None else to_user(row)


async def lock_user(uow: UnitOfWork, user_id: UUID) -> User | None:
    """A user whom nobody changes until the transaction ends, for an admin."""
    row = await uow.first(select(*USER).where(users.c.id == user_id).with_for_update())
    return None if row is None else to_user(row)


async def newest_users(
    view: View, wanted: UserFilter, before: UUID | None, count: int, offset: int
) -> list[User]:
    """Users, for an admin: the newest first, on from the id ``before``."""
    statement = select(*USER)
    if wanted.text is not None:
        key = email_key(wanted.text)
        statement = statement.where(
            or_(
                users.c.email_key.contains(key, autoescape=True),
                func.lower(users.c.full_name).contains(key, autoescape=True),
            )
        )
    if wanted.role is not None:
        statement = statement.where(users.c.role == wanted.role.value)
    if wanted.is_active is not None:
        statement = statement.where(users.c.is_active == wanted.is_active)
    if before is not None:
        statement = statement.where(users.c.id < before)
    statement = statement.order_by(users.c.id.desc()).limit(count).offset(offset)
    return [to_user(row) for row in await view.all(statement)]


async def change_user(uow: UnitOfWork, user_id: UUID, values: Mapping[str, Any]) -> User | None:
    """Change columns of a user, none of them too, and give the user back as stored."""
    if not values:
        return await user(uow, user_id)
    row = await uow.first(
        users.update().where(users.c.id == user_id).values(**values).returning(*USER)
    )
    return None if row is None else to_user(row)


async def insert_session(uow: UnitOfWork, session: Session, refresh_hash: bytes) -> None:
    """Store a session and its first refresh token; whoever opens one has just proved themselves."""
    await uow.execute(
        sessions.insert().values(
            id=session.id,
            user_id=session.user_id,
            device_info=session.device_info,
            ip_address=session.ip_address,
            created_at=session.created_at,
            last_activity_at=session.last_activity_at,
            expires_at=session.expires_at,
            generation=session.generation,
            version=session.version,
            location=session.location,
            proved_at=session.created_at,
        )
    )
    await _insert_token(uow, session, refresh_hash)


async def refresh_token(uow: UnitOfWork, hash_: bytes) -> tuple[RefreshToken, Session] | None:
    """A refresh token and its session, both locked until the transaction ends."""
    row = await uow.first(
        select(
            refresh_tokens.c.generation.label("token_generation"),
            refresh_tokens.c.used_at,
            refresh_tokens.c.salt,
            *_session_columns(uow.now_us),
        )
        .join(sessions, sessions.c.id == refresh_tokens.c.session_id)
        .where(refresh_tokens.c.hash == hash_)
        .with_for_update()
    )
    if row is None:
        return None
    return RefreshToken(row.id, row.token_generation, row.used_at, row.salt), _session(row)


async def rotate(
    uow: UnitOfWork, session: Session, used: bytes, salt: bytes, successor: bytes
) -> None:
    """Mark a refresh token as used and store its successor with the session as it is now."""
    await uow.execute(
        refresh_tokens.update()
        .where(refresh_tokens.c.hash == used)
        .values(used_at=uow.now_us, salt=salt)
    )
    await uow.execute(
        sessions.update()
        .where(sessions.c.id == session.id)
        .values(
            generation=session.generation,
            last_activity_at=session.last_activity_at,
            expires_at=session.expires_at,
        )
    )
    await _insert_token(uow, session, successor)


async def newest_sessions(
    view: View, actor: Actor, before: UUID | None, count: int, offset: int
) -> list[Session]:
    """The actor's own sessions, the newest first, on from the id ``before``."""
    statement = select(*_session_columns(view.now_us)).where(sessions.c.user_id == actor.user_id)
    if before is not None:
        statement = statement.where(sessions.c.id < before)
    statement = statement.order_by(sessions.c.id.desc()).limit(count).offset(offset)
    return [_session(row) for row in await view.all(statement)]


async def session(view: View, actor: Actor, session_id: UUID) -> Session | None:
    """One of the actor's own sessions."""
    return await session_of(view, actor.user_id, session_id)


async def session_of(view: View, user_id: UUID | None, session_id: UUID) -> Session | None:
    """One of a user's sessions."""
    row = await view.first(
        select(*_session_columns(view.now_us)).where(
            sessions.c.id == session_id, sessions.c.user_id == user_id
        )
    )
    return None if row is None else _session(row)


async def end_sessions(
    uow: UnitOfWork,
    ending: Ending,
    user_id: UUID,
    *,
    only: UUID | None = None,
    but: UUID | None = None,
) -> None:
    """End a user's open sessions: all, ``only`` one, or all ``but`` one."""
    statement = sessions.update().where(
        sessions.c.user_id == user_id, sessions.c.ended_at.is_(None)
    )
    if only is not None:
        statement = statement.where(sessions.c.id == only)
    if but is not None:
        statement = statement.where(sessions.c.id != but)
    await uow.execute(statement.values(ended_at=uow.now_us, ending=ending.value))


def _session_columns(now_us: int) -> tuple[ColumnElement[Any], ...]:
    """A session as it is now: one that a rotation refuses ended when the first such took effect."""
    ended_at = func.coalesce(sessions.c.ended_at, refused_at(now_us))
    return (*_SESSION, ended_at.label("ended_at"))


async def _insert_token(uow: UnitOfWork, session: Session, hash_: bytes) -> None:
    await uow.execute(
        refresh_tokens.insert().values(
            hash=hash_,
            session_id=session.id,
            generation=session.generation,
            created_at=uow.now_us,
        )
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        row.id,
        row.user_id,
        row.device_info,
        row.ip_address,
        row.created_at,
        row.last_activity_at,
        row.expires_at,
        row.generation,
        row.ended_at,
        row.version,
        row.location,
    )


def to_user(row: Row[Any]) -> User:
    """The user that a row of the columns ``USER`` tells of."""
    return User(
        row.id,
        row.email,
        row.full_name,
        Role(row.role),
        row.is_active,
        row.email_verified,
        row.created_at,
    )
