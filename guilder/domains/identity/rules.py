"""Users, sessions and the password policy as plain values."""

import hashlib
import hmac
import string
import unicodedata
from base64 import b32encode
from collections.abc import Container
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from guilder.core.clock import DAY_US, MINUTE_US, SECOND_US
from guilder.core.errors import FieldError
from guilder.core.permissions import Role
from guilder.core.result import Err, Ok
from guilder.domains.identity.errors import TokenExpired, TokenInvalid, WeakPassword

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 128
SESSION_US: Final = 30 * DAY_US
"""How long a refresh token is good, and a session without a new one."""
MOST_FAILURES: Final = 5
"""Wrong passwords in a row after which nobody is let in for a while."""
LOCK_US: Final = 15 * MINUTE_US
FIRST_VERSION: Final = 1
"""Of the sessions and tokens of a bank that has never had a rotation."""
MOST_GRACE_SECONDS: Final = 24 * 60 * 60
DOUBLE_CLICK_US: Final = 10 * SECOND_US
"""How long a used refresh token gives its successor once more: a client that asked twice."""
TOTP_SECRET_BYTES: Final = 20
TOTP_DIGITS: Final = 6
TOTP_STEP_US: Final = 30 * SECOND_US
TOTP_SKEW: Final = 1
"""Time steps by which a clock may be off, to either side."""
ENROLMENT_US: Final = 15 * MINUTE_US
"""How long a new authenticator app may take to show its first code."""
RECOVERY_CODES: Final = 10
MOST_PASSKEYS: Final = 20


@dataclass(frozen=True, slots=True)
class User:
    """A login, as others may see it."""

    id: UUID
    email: str
    full_name: str | None
    role: Role
    is_active: bool
    email_verified: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users: a part of the address or the name, the role, whether they may come in."""

    text: str | None = None
    role: Role | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in on one device."""

    id: UUID
    user_id: UUID
    device_info: str | None
    ip_address: str
    created_at: int
    last_activity_at: int
    expires_at: int
    generation: int = 1
    ended_at: int | None = None
    version: int = FIRST_VERSION
    location: str | None = None

    def is_open(self, now_us: int) -> bool:
        """Whether its tokens are good."""
        return self.ended_at is None and now_us < self.expires_at


class Purpose(Enum):
    """What a letter is for."""

    VERIFICATION = "verification"
    RESET = "reset"
    LOCK = "lock"
    CODES = "codes"

    @property
    def token_us(self) -> int:
        """How long the token in it is good; a letter about wrong guesses has none."""
        return {Purpose.VERIFICATION: DAY_US, Purpose.RESET: 15 * MINUTE_US}.get(self, 0)

    @property
    def rest_us(self) -> int:
        """For how long no second letter of the kind goes to the same user.

        Short against the life of a token: whoever asks again has one that is good. Nobody can fill
        a stranger's mailbox by asking.
        """
        return 3 * MINUTE_US if self.token_us else DAY_US


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that was asked for; ``user_id`` is None when the address is nobody's."""

    id: UUID
    purpose: Purpose
    user_id: UUID | None
    created_at: int
    expires_at: int
    sent_at: int | None = None
    used_at: int | None = None


def judge_token(
    letter: Letter, purpose: Purpose, now_us: int
) -> Ok[Letter] | Err[TokenInvalid] | Err[TokenExpired]:
    """The letter that brought a token, while that is good for what is wanted of it."""
    if letter.purpose is not purpose or letter.used_at is not None:
        return Err(TokenInvalid())
    return Ok(letter) if now_us < letter.expires_at else Err(TokenExpired())


@dataclass(frozen=True, slots=True)
class Rotation:
    """From ``effective_at`` on, sessions and tokens of a lower version are refused.

    It is about one user, or about everybody when ``user_id`` is None. Versions are one series: a
    rotation has a higher one than any before it, whomever that was about.
    """

    version: int
    user_id: UUID | None
    reason: str
    made_by: str
    created_at: int
    effective_at: int

    @property
    def id(self) -> UUID | None:
        """Whom it is about: the subject in the audit trail."""
        return self.user_id


class Ending(Enum):
    """Why a session has ended."""

    LOGGED_OUT = "logged_out"
    REVOKED = "revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a reason
    REFRESH_REUSED = "refresh_reused"
    SWITCHED_OFF = "switched_off"
    FACTORS_CHANGED = "factors_changed"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One of the tokens of a session, each of which has one successor.

    ``salt`` is what the successor was made from, once the token is used.
    """

    session_id: UUID
    generation: int
    used_at: int | None
    salt: bytes | None


class Refresh(Enum):
    """What a refresh token is good for."""

    NEXT = "a new pair"
    AGAIN = "the pair that it gave a moment ago"
    REUSED = "nothing, and its session must end"
    NONE = "nothing"


def judge_refresh(token: RefreshToken, session: Session, now_us: int) -> Refresh:
    """What becomes of a refresh token (RFC 9700, 4.14.2: rotation and the detection of reuse).

    A used one gives the same pair once more for some seconds, as long as nobody has used its
    successor; after that, two parties have it.
    """
    if not session.is_open(now_us):
        return Refresh.NONE
    if token.used_at is None:
        return Refresh.NEXT
    is_last_used = token.generation == session.generation - 1
    if is_last_used and now_us - token.used_at <= DOUBLE_CLICK_US:
        return Refresh.AGAIN
    return Refresh.REUSED


@dataclass(frozen=True, slots=True)
class Failures:
    """Wrong passwords in a row: how many, the last when, and until when nobody is let in."""

    in_a_row: int = 0
    last_at: int = 0
    locked_until: int = 0

    def one_more(self, now_us: int) -> "Failures":
        """With another failure now; those of longer ago than a lock lasts are forgotten.

        One that was under way when the lock came leaves it as it is.
        """
        if now_us < self.locked_until:
            return self
        count = 1 if now_us - self.last_at > LOCK_US else self.in_a_row + 1
        if count < MOST_FAILURES:
            return Failures(count, now_us)
        return Failures(0, now_us, now_us + LOCK_US)

    def locked_seconds(self, now_us: int) -> int:
        """For how long nobody is let in, rounded up; 0 when the way is free."""
        return max(0, -((now_us - self.locked_until) // SECOND_US))


def failures_key(*parts: str) -> bytes:
    """Under which failures are counted; the database does not tell who tried what."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def email_key(email: str) -> str:
    """The form under which an address is unique: case and compatibility forms do not count."""
    return unicodedata.normalize("NFKC", email).casefold()


def normal_password(password: str) -> str:
    """One form for all the ways in which keyboards encode the same characters."""
    return unicodedata.normalize("NFKC", password)


def is_common(password: str, common: Container[str]) -> bool:
    """Whether it is one of the ``common``, such a one over and over, or one and some digits."""
    folded = password.casefold()
    period = (folded + folded).find(folded, 1)
    return any(form in common for form in (folded, folded[:period], folded.strip(string.digits)))


def check_password(
    password: str, email: str, common: Container[str], pointer: str = "/password"
) -> Ok[str] | Err[WeakPassword]:
    """The password in its normal form, or why it is too weak. No rules of composition.

    ``common`` are passwords that everybody tries first; ``pointer`` is where in the request the
    password stands.
    """
    normal = normal_password(password)
    lengths = len(password), len(normal)  # a fraction becomes three characters, an accent none
    if min(lengths) < SHORTEST_PASSWORD:
        return _weak(pointer, "too_short", f"Use at least {SHORTEST_PASSWORD} characters.")
    if max(lengths) > LONGEST_PASSWORD:
        return _weak(pointer, "too_long", f"Use at most {LONGEST_PASSWORD} characters.")
    if email_key(normal) == email_key(email):
        return _weak(pointer, "is_email", "Use something else than the e-mail address.")
    if is_common(normal, common):
        return _weak(pointer, "too_common", "Use something that others do not use.")
    return Ok(normal)


def _weak(pointer: str, code: str, message: str) -> Err[WeakPassword]:
    return Err(WeakPassword(fields=(FieldError(pointer, code, message),)))


@dataclass(frozen=True, slots=True)
class Totp:
    """An authenticator app; ``secret`` is sealed. It counts once it is confirmed.

    ``last_step`` is the newest time step whose code was used: neither it nor an older one is taken
    again.
    """

    user_id: UUID
    secret: bytes = field(repr=False)
    created_at: int
    confirmed_at: int | None = None
    last_step: int = -1


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

    step: int


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A recovery code, by its hash."""

    hash: bytes


@dataclass(frozen=True, slots=True)
class PasskeyProof:
    """A signature that holds: which passkey made it, its new counter, and over which challenge."""

    passkey_id: UUID
    sign_count: int
    challenge_hash: bytes
    challenge_ends: int


type Factor = TotpStep | RecoveryCode | PasskeyProof
"""What is to be used once, in the transaction that lets somebody in for it."""


def normal_code(text: str) -> str:
    """A code as it was meant: people add spaces and hyphens and mix up cases."""
    return "".join(text.split()).replace("-", "").upper()


def is_totp_code(code: str) -> bool:
    """Whether a normal code is of an app; any other is a recovery code."""
    return len(code) == TOTP_DIGITS and code.isascii() and code.isdigit()


def totp_step(secret: bytes, code: str, now_us: int) -> int | None:
    """The time step whose code it is (RFC 6238, SHA-1), None when it is none of about now.

    The newest of several. Every step is compared, so that the time tells nothing.
    """
    hotp = HOTP(secret, TOTP_DIGITS, SHA1(), enforce_key_length=False)  # noqa: S303 - RFC 6238
    now = now_us // TOTP_STEP_US
    found = None
    for step in range(max(0, now - TOTP_SKEW), now + TOTP_SKEW + 1):
        if hmac.compare_digest(hotp.generate(step), code.encode()):
            found = step
    return found


def totp_uri(secret: bytes, email: str, bank: str) -> str:
    """What authenticator apps read from a QR code."""
    label = quote(f"{bank}:{email}", safe="")
    fields = {"secret": base32(secret), "issuer": bank, "digits": TOTP_DIGITS, "period": 30}
    return f"otpauth://totp/{label}?{urlencode(fields, quote_via=quote)}"


def base32(secret: bytes) -> str:
    """A secret as people type it in."""
    return b32encode(secret).decode("ascii").rstrip("=")


def recovery_hash(user_id: UUID, code: str) -> bytes:
    """Under which a recovery code in its normal form is stored: it has 100 random bits."""
    return hashlib.sha256(user_id.bytes + code.encode()).digest()
