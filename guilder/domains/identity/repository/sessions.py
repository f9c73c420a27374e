"""The SQL of sessions and their refresh tokens."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select

from guilder.core.actor import Actor
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import refresh_tokens, sessions
from guilder.domains.identity.repository.rotations import refused_at
from guilder.domains.identity.rules.devices import client_device
from guilder.domains.identity.rules.sessions import EndReason, RefreshToken, Session

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


async def insert_session(
    uow: UnitOfWork, session: Session, refresh_hash: bytes, *, with_factor: bool
) -> None:
    """Store a session and its first refresh token; whoever opens one has just proved themselves,
    with a second factor or without.
    """
    device = client_device(session.ip_address, session.device_info)
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
            network=device.network,
            device_kind=device.kind,
            factor_at=session.created_at if with_factor else None,
        )
    )
    await _insert_token(uow, session, refresh_hash)


async def refresh_token(view: View, hash_: bytes) -> tuple[RefreshToken, Session] | None:
    """A refresh token and its session; in a transaction that writes, both are locked."""
    statement = (
        select(
            refresh_tokens.c.generation.label("token_generation"),
            refresh_tokens.c.used_at,
            refresh_tokens.c.salt,
            *_session_columns(view.now_us),
        )
        .join(sessions, sessions.c.id == refresh_tokens.c.session_id)
        .where(refresh_tokens.c.hash == hash_)
    )
    if isinstance(view, UnitOfWork):
        statement = statement.with_for_update()
    row = await view.first(statement)
    if row is None:
        return None
    return RefreshToken(row.id, row.token_generation, row.used_at, row.salt), _session(row)


async def has_refresh_token(view: View, hash_: bytes) -> bool:
    """Whether there is a refresh token of this hash, used or not."""
    found = select(refresh_tokens.c.hash).where(refresh_tokens.c.hash == hash_)
    return await view.first(found) is not None


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
    ending: EndReason,
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
