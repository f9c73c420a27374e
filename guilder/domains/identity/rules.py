"""Users, sessions and the password policy as plain values."""

import unicodedata
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from guilder.core.actor import Role
from guilder.core.clock import DAY_US
from guilder.core.errors import FieldError
from guilder.core.result import Err, Ok
from guilder.domains.identity.errors import WeakPassword

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 128
SESSION_US: Final = 30 * DAY_US
"""How long a refresh token, and with it a session, can be good."""


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
class Session:
    """One sign-in on one device."""

    id: UUID
    user_id: UUID
    device_info: str | None
    ip_address: str
    created_at: int
    expires_at: int


def email_key(email: str) -> str:
    """The form under which an address is unique: case and compatibility forms do not count."""
    return unicodedata.normalize("NFKC", email).casefold()


def normal_password(password: str) -> str:
    """One form for all the ways in which keyboards encode the same characters."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, email: str) -> Ok[str] | Err[WeakPassword]:
    """The password in its normal form, or why it is too weak. No rules of composition."""
    normal = normal_password(password)
    if len(normal) < SHORTEST_PASSWORD:
        return _weak("too_short", f"Use at least {SHORTEST_PASSWORD} characters.")
    if len(normal) > LONGEST_PASSWORD:
        return _weak("too_long", f"Use at most {LONGEST_PASSWORD} characters.")
    if email_key(normal) == email_key(email):
        return _weak("is_email", "Use something else than the e-mail address.")
    return Ok(normal)


def _weak(code: str, message: str) -> Err[WeakPassword]:
    return Err(WeakPassword(fields=(FieldError("/password", code, message),)))
