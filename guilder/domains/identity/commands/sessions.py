"""Opening, refreshing and ending sessions."""

from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import UUID

from guilder.core.errors import Unauthenticated
from guilder.core.ids import uuid7
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.commands.factors import use_factor
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.identity.errors import (
    InvalidCredentials,
    InvalidPasskey,
    InvalidSecondFactor,
    RefreshInvalid,
    RefreshReused,
    SecondFactorRequired,
    SessionNotFound,
)
from guilder.domains.identity.events import NewDeviceSignedIn
from guilder.domains.identity.repository import factors, failures, sessions, users
from guilder.domains.identity.repository.rotations import version_of
from guilder.domains.identity.rules.factors import Factor, PasskeyProof
from guilder.domains.identity.rules.sessions import (
    DEFAULT_LIFE,
    EndReason,
    RefreshToken,
    RefreshVerdict,
    Session,
    SessionLife,
    check_refresh,
)
from guilder.domains.identity.rules.users import User


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Sign in a user whose password has been checked against ``password_hash``.

    It is None for a sign-in by passkey. ``factor`` is what was given beside the password, or
    instead. ``better_hash`` is of the same password; wrong ones and wrong codes were counted under
    the ``failures_keys``.
    """

    action: ClassVar[str] = "session.open"
    user_id: UUID
    refresh_hash: bytes
    password_hash: str | None
    device_info: str | None = None
    better_hash: str | None = None
    failures_keys: tuple[bytes, ...] = ()
    factor: Factor | None = None
    is_known_device: bool = True
    location: str | None = None
    life: SessionLife = DEFAULT_LIFE


async def open_session(uow: UnitOfWork, cmd: OpenSession) -> Session:
    """Store the session.

    Every way to sign in ends here, and here alone it is decided what it takes.

    Raises ``InvalidCredentials`` (``InvalidPasskey``) when the user became inactive or the password
    changed meanwhile: whoever changes either ends the open sessions, and this one comes before that
    or not at all. Raises ``SecondFactorRequired`` without the second factor that the user has, and
    ``InvalidSecondFactor`` for one that was used before. A rotation that commits meanwhile is newer
    than the version read here, so it ends this session like those before it.
    """
    uow.audit(cmd.user_id)
    by_passkey = isinstance(cmd.factor, PasskeyProof)
    found = await users.lock_active_user(uow, cmd.user_id)
    if found is None or (found[1] != cmd.password_hash and not by_passkey):
        raise InvalidPasskey() if by_passkey else InvalidCredentials()
    if cmd.factor is None:
        if await factors.active_totp(uow, cmd.user_id) is not None:
            raise SecondFactorRequired()
    elif not await use_factor(uow, cmd.user_id, cmd.factor):
        raise InvalidPasskey() if by_passkey else InvalidSecondFactor()
    for key in cmd.failures_keys:
        await failures.forget_failures(uow, key)
    if cmd.better_hash is not None:
        await users.change_user(uow, cmd.user_id, {"password_hash": cmd.better_hash})
    session = Session(
        uuid7(uow.now_us),
        cmd.user_id,
        cmd.device_info,
        uow.actor.ip_address,
        created_at=uow.now_us,
        last_activity_at=uow.now_us,
        expires_at=cmd.life.expires_at(uow.now_us, uow.now_us),
        version=await version_of(uow, cmd.user_id),
        location=cmd.location,
    )
    with_factor = cmd.factor is not None
    await sessions.insert_session(uow, session, cmd.refresh_hash, with_factor=with_factor)
    if not cmd.is_known_device:
        await uow.record(NewDeviceSignedIn(cmd.user_id, session.id))
    by_password = () if cmd.password_hash is None else ("password",)
    factors_used = (*by_password, *(() if cmd.factor is None else (cmd.factor.name,)))
    uow.audit(session=session.id, factors=factors_used)
    return session


@dataclass(frozen=True, slots=True)
class SignUp:
    """Make a login and sign it in, both or neither."""

    action: ClassVar[str] = "user.sign_up"
    user: CreateUser
    refresh_hash: bytes
    device_info: str | None = None
    location: str | None = None
    life: SessionLife = DEFAULT_LIFE


async def sign_up(uow: UnitOfWork, cmd: SignUp) -> tuple[User, Session]:
    """Store user and session. Raises ``EmailTaken``."""
    user = await create_user(uow, cmd.user)
    opening = OpenSession(
        user.id,
        cmd.refresh_hash,
        cmd.user.password_hash,
        cmd.device_info,
        location=cmd.location,
        life=cmd.life,
    )
    session = await open_session(uow, opening)
    return user, session


@dataclass(frozen=True, slots=True)
class RefreshSession:
    """Use a refresh token. Its ``successor``, made with ``salt``, is stored when it is unused."""

    action: ClassVar[str] = "session.refresh"
    hash: bytes
    successor: bytes
    salt: bytes
    life: SessionLife = DEFAULT_LIFE


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The session, and with which salt and when the successor of its token was made."""

    id: UUID
    user: User
    session: Session
    salt: bytes
    at_us: int


async def refresh_session(uow: UnitOfWork, cmd: RefreshSession) -> Refreshed:
    """Rotate the token.

    Raises ``RefreshInvalid``, or ``RefreshReused`` for one that was used before.
    """
    token, session, user = await refreshable(uow, cmd)
    uow.audit(session.user_id, session=session.id)
    match check_refresh(token, session, uow.now_us):
        case RefreshVerdict.NONE:  # pragma: no cover - refused already
            raise RefreshInvalid()
        case RefreshVerdict.REUSED:
            raise RefreshReused(session.id, session.user_id)
        case RefreshVerdict.AGAIN:
            assert token.salt is not None
            assert token.used_at is not None
            return Refreshed(session.id, user, session, token.salt, token.used_at)
        case RefreshVerdict.NEXT:
            session = replace(
                session,
                generation=session.generation + 1,
                last_activity_at=uow.now_us,
                expires_at=cmd.life.expires_at(session.created_at, uow.now_us),
            )
            await sessions.rotate(uow, session, cmd.hash, cmd.salt, cmd.successor)
            return Refreshed(session.id, user, session, cmd.salt, uow.now_us)


async def refreshable(view: View, cmd: RefreshSession) -> tuple[RefreshToken, Session, User]:
    """The token of the hash, its session and user, unless it is dead.

    Raises ``RefreshInvalid``. It needs no transaction that writes: strangers may ask.
    """
    found = await sessions.refresh_token(view, cmd.hash)
    if found is None:
        raise RefreshInvalid()
    token, session = found
    user = await users.find_active_user(view, session.user_id)
    is_over = cmd.life.expires_at(session.created_at, view.now_us) <= view.now_us  # by a new bound
    dead = check_refresh(token, session, view.now_us) is RefreshVerdict.NONE
    if user is None or is_over or dead:
        raise RefreshInvalid()
    return token, session, user


@dataclass(frozen=True, slots=True)
class EndFamily:
    """End the session whose refresh token two parties have."""

    action: ClassVar[str] = "session.end_reused"
    session_id: UUID
    user_id: UUID


async def end_family(uow: UnitOfWork, cmd: EndFamily) -> None:
    """End it; nothing happens when it has ended meanwhile."""
    uow.audit(cmd.user_id, session=cmd.session_id)
    await sessions.end_sessions(uow, EndReason.REFRESH_REUSED, cmd.user_id, only=cmd.session_id)


@dataclass(frozen=True, slots=True)
class EndSession:
    """End one of the actor's own sessions."""

    action: ClassVar[str] = "session.end"
    session_id: UUID


async def end_session(uow: UnitOfWork, cmd: EndSession) -> Session:
    """End it, if it is open. Raises ``SessionNotFound`` unless it is the actor's."""
    session = await sessions.session(uow, uow.actor, cmd.session_id)
    if session is None:
        raise SessionNotFound()
    own = session.id == uow.actor.session_id
    ending = EndReason.LOGGED_OUT if own else EndReason.REVOKED
    await sessions.end_sessions(uow, ending, session.user_id, only=session.id)
    return session


@dataclass(frozen=True, slots=True)
class RevokeRefreshToken:
    """End the session of a refresh token, of which nothing but the hash is known."""

    action: ClassVar[str] = "session.revoke_token"
    hash: bytes


async def revoke_refresh_token(uow: UnitOfWork, cmd: RevokeRefreshToken) -> Session | None:
    """End it, whichever token of the session it is; None when there is no such token."""
    found = await sessions.refresh_token(uow, cmd.hash)
    if found is None:
        return None
    session = found[1]
    uow.audit(session.user_id, session=session.id)
    await sessions.end_sessions(uow, EndReason.LOGGED_OUT, session.user_id, only=session.id)
    return session


@dataclass(frozen=True, slots=True)
class EndOtherSessions:
    """End all of the actor's sessions except the one that asks."""

    action: ClassVar[str] = "session.end_others"


async def end_other_sessions(uow: UnitOfWork, _cmd: EndOtherSessions) -> None:
    """End them. Raises ``Unauthenticated`` without a session."""
    if uow.actor.user_id is None or uow.actor.session_id is None:
        raise Unauthenticated()
    await sessions.end_sessions(uow, EndReason.REVOKED, uow.actor.user_id, but=uow.actor.session_id)
