"""Second factors as plain values: authenticator apps, recovery codes, passkeys."""

import hashlib
import hmac
import unicodedata
from base64 import b32encode
from dataclasses import dataclass, field
from typing import ClassVar, Final
from urllib.parse import quote, urlencode
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from guilder.core.clock import DAY_US, MINUTE_US, SECOND_US

TOTP_SECRET_BYTES: Final = 20
TOTP_DIGITS: Final = 6
TOTP_STEP_US: Final = 30 * SECOND_US
TOTP_SKEW: Final = 1
"""Time steps that a code may be late: the time of typing it. One of the future is not accepted."""
ENROLMENT_US: Final = 15 * MINUTE_US
"""How long a new authenticator app may take to show its first code."""
TOTP_NOTICE_US: Final = 3 * DAY_US
"""How long an app still counts that was given up by a letter: whoever reads the letters of another
must not get past it unseen."""
RECOVERY_CODES: Final = 10
MAX_PASSKEYS: Final = 20


@dataclass(frozen=True, slots=True)
class Totp:
    """An authenticator app; ``secret`` is sealed. It is required once it is confirmed.

    ``last_step`` is the newest time step whose code was used: neither it nor an older one is
    accepted again. From ``ends_at`` on it counts no more.
    """

    user_id: UUID
    secret: bytes = field(repr=False)
    created_at: int
    confirmed_at: int | None = None
    last_step: int = -1
    ends_at: int | None = None


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential that its user has named."""

    id: UUID
    user_id: UUID
    name: str
    credential_id: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    sign_count: int
    created_at: int
    last_used_at: int | None = None


@dataclass(frozen=True, slots=True)
class Factors:
    """What a user has beside the password."""

    totp: Totp | None
    recovery_codes_left: int
    passkeys: tuple[Passkey, ...]


@dataclass(frozen=True, slots=True)
class TotpStep:
    """A right code, by the time step it belongs to."""

    name: ClassVar[str] = "totp"
    step: int


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A recovery code, by its hash."""

    name: ClassVar[str] = "recovery_code"
    hash: bytes


@dataclass(frozen=True, slots=True)
class PasskeyProof:
    """A signature that holds: which passkey made it, its new counter, and over which challenge."""

    name: ClassVar[str] = "passkey"
    passkey_id: UUID
    sign_count: int
    challenge_hash: bytes
    challenge_ends: int


type Factor = TotpStep | RecoveryCode | PasskeyProof


"""What is to be used once, in the transaction that lets somebody in for it."""


def normal_code(text: str) -> str:
    """A code as it was meant: people add spaces and dashes of all kinds, mix up cases, and some
    keyboards write wide digits.
    """
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text))).upper()


def is_totp_code(code: str) -> bool:
    """Whether a normal code is of an app; any other is a recovery code."""
    return len(code) == TOTP_DIGITS and code.isascii() and code.isdigit()


def totp_step(secret: bytes, code: str, now_us: int) -> int | None:
    """The time step of a code (RFC 6238, SHA-1), None when it fits none around now.

    The newest of several. Every step is compared, so that the time tells nothing.
    """
    hotp = HOTP(secret, TOTP_DIGITS, SHA1(), enforce_key_length=False)  # noqa: S303 - RFC 6238
    now = now_us // TOTP_STEP_US
    found = None
    for step in range(max(0, now - TOTP_SKEW), now + 1):
        if hmac.compare_digest(hotp.generate(step), code.encode()):
            found = step
    return found


def totp_uri(secret: bytes, email: str, bank: str) -> str:
    """What authenticator apps read from a QR code; a colon ends the bank's name there."""
    bank = " ".join(bank.replace(":", " ").split())
    label = quote(f"{bank}:{email}", safe="")
    fields = {"secret": base32(secret), "issuer": bank, "digits": TOTP_DIGITS, "period": 30}
    return f"otpauth://totp/{label}?{urlencode(fields, quote_via=quote)}"


def base32(secret: bytes) -> str:
    """A secret as people type it in."""
    return b32encode(secret).decode("ascii").rstrip("=")


def recovery_hash(user_id: UUID, code: str) -> bytes:
    """What is made of a recovery code in its normal form, to be stored under a key.

    Codes of 100 bits, from before there was one, are stored as it is.
    """
    return hashlib.sha256(user_id.bytes + code.encode()).digest()
