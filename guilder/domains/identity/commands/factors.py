"""Authenticator apps and recovery codes: set up, checked, used once, taken away.

The secret of an app is sealed in the database, for codes are made from it. What is checked before a
transaction is used within it, so that of two who come with one code one is let in.
"""

import secrets
from dataclasses import dataclass, replace
from typing import ClassVar, Final
from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.errors import Unauthenticated
from guilder.core.ports import Sealer
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.identity.commands.lockout import CountFailure, Guard, count_failure
from guilder.domains.identity.errors import (
    TotpActive,
    TotpNotFound,
    UserNotFound,
    WrongFactor,
)
from guilder.domains.identity.repository import factors, logins
from guilder.domains.identity.rules import (
    ENROLMENT_US,
    RECOVERY_CODES,
    TOTP_SECRET_BYTES,
    Ending,
    Factor,
    PasskeyProof,
    Purpose,
    RecoveryCode,
    Totp,
    TotpStep,
    User,
    failures_key,
    is_totp_code,
    normal_code,
    recovery_hash,
    totp_step,
)

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32 that look like no other: 5 bits each
_GROUPS: Final = 4
_GROUP: Final = 5


async def use_factor(uow: UnitOfWork, user_id: UUID, factor: Factor) -> bool:
    """Use a factor of the user, whose row is locked; False when it is used or theirs no more.

    After False the transaction is good for nothing but to be rolled back by a refusal.
    """
    match factor:
        case TotpStep(step):
            return await factors.use_step(uow, user_id, step)
        case RecoveryCode(hash_):
            return await factors.use_recovery_code(uow, user_id, hash_)
        case PasskeyProof():
            return await factors.use_passkey(uow, user_id, factor) and await factors.use_challenge(
                uow, factor.challenge_hash, factor.challenge_ends
            )


@dataclass(frozen=True, slots=True)
class EnrolTotp:
    """Begin to set up an authenticator app of the acting user; its ``secret`` is sealed."""

    action: ClassVar[str] = "totp.enrol"
    secret: bytes


async def enrol_totp(uow: UnitOfWork, cmd: EnrolTotp) -> User:
    """Store it unconfirmed, in the place of another; refuses who has one that counts."""
    user = await _lock_actor(uow)
    if await factors.active_totp(uow, user.id) is not None:
        raise TotpActive()
    await factors.put_totp(uow, Totp(user.id, cmd.secret, uow.now_us))
    return user


@dataclass(frozen=True, slots=True)
class ConfirmTotp:
    """Let an app count whose code of ``step`` was right; ``hashes`` are of its recovery codes."""

    action: ClassVar[str] = "totp.confirm"
    totp: Totp
    step: int
    hashes: tuple[bytes, ...]


async def confirm_totp(uow: UnitOfWork, cmd: ConfirmTotp) -> User:
    """Store that, and end the other sessions, which were opened with less.

    Refuses an app that another has taken the place of meanwhile.
    """
    user = await _lock_actor(uow)
    if await factors.totp(uow, user.id) != cmd.totp:
        raise TotpNotFound()
    confirmed = replace(cmd.totp, confirmed_at=uow.now_us, last_step=cmd.step)
    await factors.put_totp(uow, confirmed)
    await factors.put_recovery_codes(uow, user.id, cmd.hashes)
    await end_others(uow, user.id)
    return user


@dataclass(frozen=True, slots=True)
class RemoveTotp:
    """Take the acting user's app away, and its recovery codes."""

    action: ClassVar[str] = "totp.remove"


async def remove_totp(uow: UnitOfWork, _cmd: RemoveTotp) -> User:
    """Remove them and end the other sessions; refuses who has no app."""
    user = await _lock_actor(uow)
    if not await factors.remove_totp(uow, user.id):
        raise TotpNotFound()
    await end_others(uow, user.id)
    return user


@dataclass(frozen=True, slots=True)
class RenewRecoveryCodes:
    """Give the acting user recovery codes with these ``hashes``."""

    action: ClassVar[str] = "recovery_codes.renew"
    hashes: tuple[bytes, ...]


async def renew_recovery_codes(uow: UnitOfWork, cmd: RenewRecoveryCodes) -> User:
    """Store them; the old ones are dead. Refuses who has no app."""
    user = await _lock_actor(uow)
    if await factors.active_totp(uow, user.id) is None:
        raise TotpNotFound()
    await factors.put_recovery_codes(uow, user.id, cmd.hashes)
    return user


@dataclass(frozen=True, slots=True)
class RemoveFactors:
    """Take away all second factors of a user who has lost them, as an admin."""

    action: ClassVar[str] = "factors.remove"
    user_id: UUID


async def remove_factors(uow: UnitOfWork, cmd: RemoveFactors) -> User:
    """Remove them and end all sessions; refuses an id that is no user's."""
    user = await logins.lock_user(uow, cmd.user_id)
    if user is None:
        raise UserNotFound()
    await factors.remove_totp(uow, user.id)
    await factors.remove_passkeys(uow, user.id)
    await logins.end_sessions(uow, Ending.FACTORS_CHANGED, user.id)
    return user


async def end_others(uow: UnitOfWork, user_id: UUID) -> None:
    """End the sessions of a user but the acting one: they were opened with other factors."""
    await logins.end_sessions(uow, Ending.FACTORS_CHANGED, user_id, but=uow.actor.session_id)


async def _lock_actor(uow: UnitOfWork) -> User:
    """The acting user, whom nobody changes meanwhile; refuses one who has been switched off."""
    found = None
    if uow.actor.user_id is not None:
        found = await logins.lock_active_user(uow, uow.actor.user_id)
    if found is None:
        raise Unauthenticated()
    return found[0]


@dataclass(frozen=True, slots=True)
class CountWrongCode(CountFailure):
    """A wrong code."""

    action: ClassVar[str] = "factor.refuse"


@dataclass(frozen=True, slots=True)
class Checked:
    """A right code, and what wrong ones were counted under."""

    factor: Factor
    failures_key: bytes


class SecondFactors:
    """What of second factors needs the sealer, and bounds how many codes are tried."""

    def __init__(self, runner: Runner, sealer: Sealer) -> None:
        self._runner = runner
        self._sealer = sealer
        self._guard = Guard(runner)

    async def enrol(self, actor: Actor) -> tuple[User, bytes]:
        """Begin to set up an app; its secret is shown once."""
        if actor.user_id is None:
            raise Unauthenticated()
        secret = secrets.token_bytes(TOTP_SECRET_BYTES)
        sealed = self._sealer.seal(secret, _place(actor.user_id))
        return await self._runner.run(enrol_totp, EnrolTotp(sealed), actor), secret

    async def confirm(self, code: str, actor: Actor) -> list[str]:
        """Let the app count that shows this code; gives recovery codes, shown once.

        Refuses a wrong code, and an app whose setting up began too long ago.
        """
        user_id = actor.user_id
        if user_id is None:
            raise Unauthenticated()
        totp = await self._runner.view(factors.totp, user_id)
        now_us = self._runner.clock.now_us()
        if totp is None or totp.confirmed_at is not None or now_us - totp.created_at > ENROLMENT_US:
            raise TotpNotFound()
        step = totp_step(self._secret(totp), normal_code(code), now_us)
        if step is None:
            raise WrongFactor()
        codes, hashes = _new_codes(user_id)
        await self._runner.run(confirm_totp, ConfirmTotp(totp, step, hashes), actor)
        return codes

    async def renew_codes(self, actor: Actor) -> list[str]:
        """New recovery codes, shown once, in the place of the old ones."""
        if actor.user_id is None:
            raise Unauthenticated()
        codes, hashes = _new_codes(actor.user_id)
        await self._runner.run(renew_recovery_codes, RenewRecoveryCodes(hashes), actor)
        return codes

    async def check(self, totp: Totp, text: str, actor: Actor, *place: str) -> Checked | None:
        """The factor that a code of the user's app, or a recovery code, stands for.

        None for a wrong one, which is counted for the user and the ``place`` it was given at;
        refuses as locked after too many.
        """
        key = failures_key("second factor of", str(totp.user_id), *place)
        async with self._guard.attempt(key):
            factor = await self._read(totp, normal_code(text))
            if factor is not None:
                return Checked(factor, key)
            wrong = CountWrongCode(key, totp.user_id, Purpose.CODES)
            await self._runner.run(count_failure, wrong, actor)
            return None

    async def _read(self, totp: Totp, code: str) -> Factor | None:
        if is_totp_code(code):
            step = totp_step(self._secret(totp), code, self._runner.clock.now_us())
            return TotpStep(step) if step is not None and step > totp.last_step else None
        hash_ = recovery_hash(totp.user_id, code)
        known = await self._runner.view(factors.has_recovery_code, totp.user_id, hash_)
        return RecoveryCode(hash_) if known else None

    def _secret(self, totp: Totp) -> bytes:
        return self._sealer.unseal(totp.secret, _place(totp.user_id))


def _place(user_id: UUID) -> str:
    return f"identity_totps|secret|{user_id}"


def _new_codes(user_id: UUID) -> tuple[list[str], tuple[bytes, ...]]:
    codes = [
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    ]
    return codes, tuple(recovery_hash(user_id, normal_code(code)) for code in codes)
