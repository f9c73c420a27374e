"""Authenticator apps and recovery codes: their secrets and codes are made and read here.

The secret of an app is sealed in the database, for codes are made from it. What is checked before a
transaction is used within it, so that of two who come with one code one is let in.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from guilder.core.actor import Actor, require_proof
from guilder.core.errors import Unauthenticated, Unavailable
from guilder.core.ports import KeyMissing, Macs, Sealer
from guilder.db.run import Runner
from guilder.domains.identity.commands.factors import (
    ConfirmTotp,
    EnrolTotp,
    RenewRecoveryCodes,
    confirm_totp,
    enrol_totp,
    renew_recovery_codes,
)
from guilder.domains.identity.errors import (
    InvalidSecondFactor,
    TotpActive,
    TotpNotFound,
    WrongFactor,
)
from guilder.domains.identity.repository import factors
from guilder.domains.identity.rules.factors import (
    ENROLMENT_US,
    RECOVERY_CODES,
    TOTP_SECRET_BYTES,
    Factor,
    RecoveryCode,
    Totp,
    TotpStep,
    is_totp_code,
    normal_code,
    recovery_hash,
    totp_step,
    totp_uri,
)
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.rules.lockout import Locked, failures_key
from guilder.domains.identity.services.lockout import AttemptGuard, Guess

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32 that look like no other: 5 bits each
_GROUPS: Final = 7
_GROUP: Final = 4
"""140 random bits, more than the 128 that NIST SP 800-63B-4 wants of what is not hashed slowly."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A right code, and what wrong ones were counted under."""

    factor: Factor
    failures_key: bytes


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An authenticator app that is being set up: its secret, as address and as QR code as well."""

    secret: bytes
    otpauth_uri: str
    qr_svg: str


class SecondFactorService:
    """Sets up and checks second factors, and bounds how many codes are tried.

    ``bank`` is how apps call it; ``qr_svg`` draws a text as a QR code.
    """

    def __init__(
        self,
        runner: Runner,
        sealer: Sealer,
        macs: Macs,
        bank: str,
        qr_svg: Callable[[str], str],
    ) -> None:
        self._runner = runner
        self._sealer = sealer
        self._macs = macs
        self._bank = bank
        self._qr_svg = qr_svg
        self._guard = AttemptGuard(runner)

    async def enrol(self, actor: Actor) -> Enrolment:
        """Begin to set up an app; its secret is shown once.

        Raises ``TotpActive``, and ``Unauthenticated`` without a user.
        """
        if actor.user_id is None:
            raise Unauthenticated()
        secret = secrets.token_bytes(TOTP_SECRET_BYTES)
        sealed = self._sealer.seal(secret, _place(actor.user_id))
        user = await self._runner.run(enrol_totp, EnrolTotp(sealed), actor)
        uri = totp_uri(secret, user.email, self._bank)
        return Enrolment(secret, uri, self._qr_svg(uri))

    async def confirm(self, code: str, actor: Actor) -> list[str]:
        """Confirm the app that shows this code, and return its recovery codes, shown once.

        Raises ``WrongFactor`` for a wrong code, ``TotpActive`` for an app that is confirmed,
        ``TotpNotFound`` when no set-up is under way or it began too long ago,
        ``SecondFactorDemanded`` as ``require_proof`` does, and ``Unauthenticated`` without a user.
        """
        user_id = actor.user_id
        if user_id is None:
            raise Unauthenticated()
        require_proof(actor)
        totp = await self._runner.view(factors.totp, user_id)
        now_us = self._runner.clock.now_us()
        if totp is not None and totp.confirmed_at is not None:
            raise TotpActive("The authenticator app is active already.")
        if totp is None or now_us - totp.created_at > ENROLMENT_US:
            raise TotpNotFound()
        step = totp_step(self._secret(totp), normal_code(code), now_us)
        codes, hashes = self._new_codes(user_id)
        await self._runner.run(confirm_totp, ConfirmTotp(totp, step, hashes), actor)
        return codes

    async def renew_codes(self, actor: Actor) -> list[str]:
        """New recovery codes, shown once, in place of the old ones.

        Raises ``TotpNotFound``, and ``Unauthenticated`` without a user.
        """
        if actor.user_id is None:
            raise Unauthenticated()
        codes, hashes = self._new_codes(actor.user_id)
        await self._runner.run(renew_recovery_codes, RenewRecoveryCodes(hashes), actor)
        return codes

    async def check(self, totp: Totp, text: str, actor: Actor, *place: str) -> Checked:
        """The factor that a code of the user's app, or a recovery code, stands for.

        Raises ``InvalidSecondFactor``, or ``WrongFactor`` within a session, for a wrong one, which
        is counted for the user and the ``place`` it was given at, and ``AccountLocked`` after too
        many.
        """
        key = failures_key("second factor of", str(totp.user_id), *place)
        signed_in = actor.session_id is not None
        what = Locked.STEP_UP if signed_in else Locked.SECOND_FACTOR
        letter = Purpose.SESSION if signed_in else Purpose.CODES
        guess = Guess(key, what, actor, totp.user_id, letter)
        async with self._guard.attempt(guess):
            factor = await self._read(totp, normal_code(text))
            if factor is None:
                wrong = WrongFactor() if signed_in else InvalidSecondFactor()
                await self._guard.refuse(guess, wrong)
        return Checked(factor, key)

    async def _read(self, totp: Totp, code: str) -> Factor | None:
        if is_totp_code(code):
            step = totp_step(self._secret(totp), code, self._runner.clock.now_us())
            return TotpStep(step) if step is not None and step > totp.last_step else None
        plain = recovery_hash(totp.user_id, code)
        hashes = (*self._macs.of(plain.hex()), plain)
        known = await self._runner.view(factors.known_recovery_code, totp.user_id, hashes)
        return None if known is None else RecoveryCode(known)

    def _secret(self, totp: Totp) -> bytes:
        """Raises ``Unavailable`` when its key is not there: then nobody can tell a right code."""
        try:
            return self._sealer.unseal(totp.secret, _place(totp.user_id))
        except KeyMissing as error:
            raise Unavailable from error

    def _new_codes(self, user_id: UUID) -> tuple[list[str], tuple[bytes, ...]]:
        codes = [_new_code() for _ in range(RECOVERY_CODES)]
        plain = (recovery_hash(user_id, normal_code(code)) for code in codes)
        return codes, tuple(self._macs.of(one.hex())[0] for one in plain)


def _place(user_id: UUID) -> str:
    return f"identity_totps|secret|{user_id}"


def _new_code() -> str:
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)
