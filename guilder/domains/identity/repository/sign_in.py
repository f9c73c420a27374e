"""The SQL of signing in: what a login and a token are decided by."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select, true

from guilder.db.unit_of_work import View
from guilder.domains.identity.models import sessions, totps, users
from guilder.domains.identity.repository.factors import has_not_ended
from guilder.domains.identity.repository.rotations import refused
from guilder.domains.identity.repository.users import USER, to_user
from guilder.domains.identity.rules.devices import ClientDevice
from guilder.domains.identity.rules.factors import Totp
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User, email_key


class LoginFacts(NamedTuple):
    """What a login is decided by, when nobody is in yet."""

    user: User
    password_hash: str
    is_known_device: bool
    totp: Totp | None


async def find_for_login(view: View, email: str, device: ClientDevice) -> LoginFacts | None:
    """The user of an address with their authenticator app, and whether the device is known.

    One statement, so that an address without a user takes as long.
    """
    active = and_(
        totps.c.user_id == users.c.id,
        totps.c.confirmed_at.is_not(None),
        has_not_ended(view.now_us),
    )
    row = await view.first(
        select(
            *USER,
            users.c.password_hash,
            _is_known(device).label("known"),
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


async def is_known_device(view: View, user_id: UUID, device: ClientDevice) -> bool:
    """Whether the device is one that the user is known to sign in from."""
    found = await view.scalar(select(_is_known(device)).where(users.c.id == user_id))
    return bool(found)


def _is_known(device: ClientDevice) -> ColumnElement[bool]:
    """Whether the user of a row of ``users`` has signed in from there.

    What was before the address was proved, or before the last reset, may have been somebody else,
    and so may a session that was revoked.
    """
    distrusted = [EndReason.REVOKED.value, EndReason.REFRESH_REUSED.value]
    return exists().where(
        sessions.c.user_id == users.c.id,
        sessions.c.network == device.network,
        sessions.c.device_kind == device.kind,
        sessions.c.created_at >= func.coalesce(users.c.known_since, 0),
        or_(sessions.c.ending.is_(None), not_(sessions.c.ending.in_(distrusted))),
    )


class SessionFacts(NamedTuple):
    """The user of a session, and when it was last proved: at all, and with a second factor."""

    user: User
    proved_at: int | None
    factor_at: int | None


async def find_user_of_session(
    view: View, session_id: UUID, user_id: UUID, version: int
) -> SessionFacts | None:
    """The active user of a session, and when they last signed in or stepped up.

    None once the session has ended or a rotation refuses the version.
    """
    row = await view.first(
        select(*USER, sessions.c.proved_at, sessions.c.factor_at)
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
    return None if row is None else SessionFacts(to_user(row), row.proved_at, row.factor_at)
