"""Making and changing users."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from secrets import token_bytes
from typing import ClassVar, Final
from uuid import UUID

from guilder.core.errors import Unauthenticated
from guilder.core.ids import uuid7
from guilder.core.permissions import Role
from guilder.db.audit import change_details
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.letters import queue_letter
from guilder.domains.identity.errors import (
    EmailTaken,
    LastAdmin,
    LoginIsClosed,
    UserNotFound,
    WrongPassword,
)
from guilder.domains.identity.events import PasswordChanged, SecurityChanged
from guilder.domains.identity.repository import failures, letters, sessions, sign_ups, users
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User

MAC_BYTES: Final = 32
_SHOWN: Final = frozenset({"role", "is_active"})
"""Fields of a user whose values the audit trail tells; of the others only that they changed."""


async def hold_active(uow: UnitOfWork, user_ids: Collection[UUID]) -> set[UUID]:
    """Those of some users who are active; no login of theirs is closed until this has committed."""
    return await users.hold_active(uow, user_ids)


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Make a login. ``password_hash`` is of a password that keeps the policy."""

    action: ClassVar[str] = "user.create"
    email: str
    password_hash: str
    full_name: str | None = None
    role: Role = Role.USER
    email_verified: bool = False


async def create_user(uow: UnitOfWork, cmd: CreateUser) -> User:
    """Store the user and queue the verification letter, unless the address is verified.

    Raises ``EmailTaken``.
    """
    user = _new_user(uow, cmd)
    if not await users.insert_user(uow, user, cmd.password_hash):
        raise EmailTaken()
    uow.audit(role=user.role)
    if not user.email_verified:
        await queue_letter(uow, Purpose.VERIFICATION, user.id)
    return user


@dataclass(frozen=True, slots=True)
class RegisterUser(CreateUser):
    """Make a login where addresses are proved before anybody signs in.

    ``repeat_mac`` is of address and password.
    """

    action: ClassVar[str] = "user.register"
    repeat_mac: bytes = b""


async def register_user(uow: UnitOfWork, cmd: RegisterUser) -> User:
    """The new user, after the same work and in the same words when the address has one already.

    Then no login is stored, and its owner is told by a letter. Where that address was never proved,
    whoever made the login need not be them: from then on only a letter that sets a new password
    proves the address, and the links of before are void, so that none opens the login to whoever
    made it. Whoever signs in with this address and password is told to confirm the address in every
    case.
    """
    user = _new_user(uow, cmd)
    is_new, owner = False, None
    while owner is None:  # again when whoever had the address gave it up between the two
        is_new = await users.insert_user(uow, user, cmd.password_hash)
        owner = await users.find_by_email(uow, user.email)
    # For a new login nothing needs to be known: what is kept is random, for the same work.
    await sign_ups.note_repeated(uow, token_bytes(MAC_BYTES) if is_new else cmd.repeat_mac)
    purpose = Purpose.KNOWN if owner.email_verified else Purpose.RESET
    is_dispute = not is_new and not owner.email_verified
    await _dispute(uow, owner.id if is_dispute and not owner.is_disputed else uuid7(uow.now_us))
    await queue_letter(uow, Purpose.VERIFICATION if is_new else purpose, owner.id)
    uow.audit(owner.id, role=user.role, is_new=is_new)
    return user


async def _dispute(uow: UnitOfWork, user_id: UUID) -> None:
    """Void the links to an address that nobody has proved; an unknown id is the same work.

    Only once for each login: else a stranger could void the owner's letters for ever.
    """
    for purpose in (Purpose.VERIFICATION, Purpose.RESET):
        await letters.invalidate_tokens(uow, user_id, purpose)
    await users.dispute(uow, user_id)


def _new_user(uow: UnitOfWork, cmd: CreateUser) -> User:
    return User(
        uuid7(uow.now_us),
        cmd.email,
        cmd.full_name,
        cmd.role,
        is_active=True,
        email_verified=cmd.email_verified,
        created_at=uow.now_us,
    )


@dataclass(frozen=True, slots=True)
class ChangeName:
    """Change how the acting user is called; None takes the name away."""

    action: ClassVar[str] = "user.change_name"
    full_name: str | None


async def change_name(uow: UnitOfWork, cmd: ChangeName) -> User:
    """Store the name and give the user back."""
    return await _changed(uow, {"full_name": cmd.full_name})


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """Store the hash of the acting user's new password, which keeps the policy.

    ``present_hash`` is what the present password was checked against.
    """

    action: ClassVar[str] = "user.change_password"
    present_hash: str
    password_hash: str
    device_info: str | None = None
    failures_key: bytes | None = None


async def change_password(uow: UnitOfWork, cmd: ChangePassword) -> User:
    """Store it, end the user's other sessions and a change of the address that was asked for, and
    forget the wrong ones of this session.

    Raises ``WrongPassword`` when the password changed meanwhile, so that of two who knew it the
    first one wins, and ``Unauthenticated`` without a user.
    """
    if uow.actor.user_id is None:
        raise Unauthenticated()
    found = await users.lock_active_user(uow, uow.actor.user_id)
    if found is None or found[1] != cmd.present_hash:
        raise WrongPassword()
    user = await _changed(uow, {"password_hash": cmd.password_hash})
    if cmd.failures_key is not None:
        await failures.forget_failures(uow, cmd.failures_key)
    await letters.invalidate_tokens(uow, user.id, Purpose.NEW_EMAIL)
    await sessions.end_sessions(uow, EndReason.PASSWORD_CHANGED, user.id, but=uow.actor.session_id)
    await uow.record(PasswordChanged(user.id, cmd.device_info))
    return user


async def _changed(uow: UnitOfWork, values: Mapping[str, object]) -> User:
    if uow.actor.user_id is None:
        raise Unauthenticated()
    user = await users.change_user(uow, uow.actor.user_id, values)
    if user is None:
        raise Unauthenticated()
    return user


@dataclass(frozen=True, slots=True)
class ChangeAccess:
    """Change a user's role, or switch a user on or off; None leaves it as it is."""

    action: ClassVar[str] = "user.change_access"
    user_id: UUID
    role: Role | None
    is_active: bool | None


async def change_access(uow: UnitOfWork, cmd: ChangeAccess) -> User:
    """Store the change; a user who becomes inactive has no sessions left.

    Raises ``UserNotFound``, ``LoginIsClosed``, and ``LastAdmin`` rather than leave no active admin:
    of two admins who demote each other at the same moment one is refused.
    """
    uow.audit(cmd.user_id)
    admins = await users.lock_active_admins(uow)
    before = await users.lock_user(uow, cmd.user_id)
    if before is None:
        raise UserNotFound()
    if await users.is_closed(uow, cmd.user_id):
        raise LoginIsClosed()
    values: dict[str, object] = {}
    if cmd.role is not None:
        values["role"] = cmd.role.value
    if cmd.is_active is not None:
        values["is_active"] = cmd.is_active
    stays = cmd.role in {None, Role.ADMIN} and cmd.is_active is not False
    if admins == [cmd.user_id] and not stays:
        raise LastAdmin()
    user = await users.change_user(uow, cmd.user_id, values)
    assert user is not None
    uow.audit(**change_details(asdict(before), asdict(user), show=_SHOWN))
    if user.role is not before.role:
        await uow.record(SecurityChanged(user.id, SecurityChange.ROLE_CHANGED))
    if not user.is_active:
        await sessions.end_sessions(uow, EndReason.SWITCHED_OFF, user.id)
    return user
