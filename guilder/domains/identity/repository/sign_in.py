"""The SQL of signing in: what a login and a token are decided by."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, select, true

from guilder.db.unit_of_work import View
from guilder.domains.identity.models import sessions, totps, users
from guilder.domains.identity.repository.rotations import refused
from guilder.domains.identity.repository.users import USER, to_user
from guilder.domains.identity.rules.factors import Totp
from guilder.domains.identity.rules.users import User, email_key


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


async def find_user_of_session(
    view: View, session_id: UUID, user_id: UUID, version: int
) -> tuple[User, int | None] | None:
    """The active user of a session, and when they last signed in or stepped up.

    None once the session has ended or a rotation refuses the version.
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
