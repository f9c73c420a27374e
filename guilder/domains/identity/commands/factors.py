"""Authenticator apps and recovery codes: set up, used once, taken away."""

from dataclasses import dataclass, replace
from typing import ClassVar
from uuid import UUID

from guilder.core.errors import Unauthenticated
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.errors import (
    TotpActive,
    TotpNotFound,
    UserNotFound,
    WrongFactor,
)
from guilder.domains.identity.events import SecurityChanged
from guilder.domains.identity.repository import factors, sessions, users
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.domains.identity.rules.factors import (
    Factor,
    PasskeyProof,
    RecoveryCode,
    Totp,
    TotpStep,
)
from guilder.domains.identity.rules.sessions import EndReason
from guilder.domains.identity.rules.users import User


async def use_factor(uow: UnitOfWork, user_id: UUID, factor: Factor) -> bool:
    """Use a factor of the user, whose row is locked; False when it was used before or removed.

    After False the caller must raise, so that the transaction is rolled back.
    """
    match factor:
        case TotpStep(step):
            await _keep_totp(uow, user_id)
            return await factors.use_step(uow, user_id, step)
        case RecoveryCode(hash_):
            await _keep_totp(uow, user_id)
            await tell(uow, user_id, SecurityChange.RECOVERY_CODE_USED)
            return await factors.use_recovery_code(uow, user_id, hash_)
        case PasskeyProof():
            return await factors.use_passkey(uow, user_id, factor) and await factors.use_challenge(
                uow, factor.challenge_hash, factor.challenge_ends
            )


async def _keep_totp(uow: UnitOfWork, user_id: UUID) -> None:
    """An app that is used does not end, and its user has not lost their factors."""
    if await factors.keep_totp(uow, user_id):
        await users.note_factors_given_up(uow, user_id, given_up=False)


@dataclass(frozen=True, slots=True)
class EnrolTotp:
    """Begin to set up an authenticator app of the acting user; its ``secret`` is sealed."""

    action: ClassVar[str] = "totp.enrol"
    secret: bytes


async def enrol_totp(uow: UnitOfWork, cmd: EnrolTotp) -> User:
    """Store it unconfirmed, in place of another unconfirmed one. Raises ``TotpActive``."""
    user = await _lock_actor(uow)
    if await factors.active_totp(uow, user.id) is not None:
        raise TotpActive()
    await factors.put_totp(uow, Totp(user.id, cmd.secret, uow.now_us))
    return user


@dataclass(frozen=True, slots=True)
class ConfirmTotp:
    """Let an app count whose code of ``step`` was right; ``hashes`` are of its recovery codes.

    Without a step the code was wrong.
    """

    action: ClassVar[str] = "totp.confirm"
    totp: Totp
    step: int | None
    hashes: tuple[bytes, ...]


async def confirm_totp(uow: UnitOfWork, cmd: ConfirmTotp) -> User:
    """Confirm it, and end the other sessions, which were opened with less.

    Raises ``WrongFactor``, and ``TotpNotFound`` when another app has replaced it meanwhile.
    """
    uow.audit(uow.actor.user_id)
    if cmd.step is None:
        raise WrongFactor()
    user = await _lock_actor(uow)
    if await factors.totp(uow, user.id) != cmd.totp:
        raise TotpNotFound()
    confirmed = replace(cmd.totp, confirmed_at=uow.now_us, last_step=cmd.step)
    await factors.put_totp(uow, confirmed)
    await factors.put_recovery_codes(uow, user.id, cmd.hashes)
    await users.note_factors_given_up(uow, user.id, given_up=False)
    if uow.actor.session_id is not None:
        await factors.mark_stepped_up(uow, uow.actor.session_id, user.id, with_factor=True)
    await end_others(uow, user.id)
    await tell(uow, user.id, SecurityChange.APP_ADDED)
    return user


@dataclass(frozen=True, slots=True)
class RemoveTotp:
    """Take the acting user's app away, and its recovery codes."""

    action: ClassVar[str] = "totp.remove"


async def remove_totp(uow: UnitOfWork, _cmd: RemoveTotp) -> User:
    """Remove them and end the other sessions. Raises ``TotpNotFound``."""
    user = await _lock_actor(uow)
    if not await factors.remove_totp(uow, user.id):
        raise TotpNotFound()
    await end_others(uow, user.id)
    await tell(uow, user.id, SecurityChange.APP_REMOVED)
    return user


@dataclass(frozen=True, slots=True)
class RenewRecoveryCodes:
    """Give the acting user recovery codes with these ``hashes``."""

    action: ClassVar[str] = "recovery_codes.renew"
    hashes: tuple[bytes, ...]


async def renew_recovery_codes(uow: UnitOfWork, cmd: RenewRecoveryCodes) -> User:
    """Store them; the old ones are void. Raises ``TotpNotFound`` without an authenticator app."""
    user = await _lock_actor(uow)
    if await factors.active_totp(uow, user.id) is None:
        raise TotpNotFound()
    await factors.put_recovery_codes(uow, user.id, cmd.hashes)
    await tell(uow, user.id, SecurityChange.RECOVERY_CODES_RENEWED)
    return user


@dataclass(frozen=True, slots=True)
class RemoveFactors:
    """Take away all second factors of a user who has lost them, as an admin."""

    action: ClassVar[str] = "factors.remove"
    user_id: UUID


async def remove_factors(uow: UnitOfWork, cmd: RemoveFactors) -> User:
    """Remove them and end all sessions; the user may set up others. Raises ``UserNotFound``."""
    user = await users.lock_user(uow, cmd.user_id)
    if user is None:
        raise UserNotFound()
    await users.note_factors_given_up(uow, user.id, given_up=False)
    await factors.remove_totp(uow, user.id)
    await factors.remove_passkeys(uow, user.id)
    await sessions.end_sessions(uow, EndReason.FACTORS_CHANGED, user.id)
    await tell(uow, user.id, SecurityChange.FACTORS_REMOVED)
    return user


async def tell(uow: UnitOfWork, user_id: UUID, change: SecurityChange) -> None:
    """Let the user be told of a change by a letter; by whom it was made is seen by the actor."""
    is_own = uow.actor.user_id == user_id
    await uow.record(SecurityChanged(user_id, change, uow.actor.session_id if is_own else None))


async def end_others(uow: UnitOfWork, user_id: UUID) -> None:
    """End the user's sessions except the acting one: they were opened with other factors."""
    await sessions.end_sessions(uow, EndReason.FACTORS_CHANGED, user_id, but=uow.actor.session_id)


async def _lock_actor(uow: UnitOfWork) -> User:
    """The acting user, locked until the transaction ends.

    Raises ``Unauthenticated`` for an inactive one.
    """
    found = None
    if uow.actor.user_id is not None:
        found = await users.lock_active_user(uow, uow.actor.user_id)
    if found is None:
        raise Unauthenticated()
    return found[0]
