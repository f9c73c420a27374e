"""Sessions and their refresh tokens as plain values."""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from guilder.core.clock import DAY_US, MINUTE_US
from guilder.domains.identity.rules.rotations import FIRST_VERSION

REUSE_GRACE_US: Final = MINUTE_US
"""How long a used refresh token gives its successor once more: a client that asked twice, or never
got the answer."""


@dataclass(frozen=True, slots=True)
class SessionLife:
    """How long a session may be idle, and how long it may last however it is used."""

    idle_us: int = 14 * DAY_US
    absolute_us: int = 90 * DAY_US

    def expires_at(self, created_at: int, now_us: int) -> int:
        """Until when a session is good, and its refresh token, that is used now."""
        return min(now_us + self.idle_us, created_at + self.absolute_us)


DEFAULT_LIFE: Final = SessionLife()


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


class EndReason(Enum):
    """Why a session has ended."""

    LOGGED_OUT = "logged_out"
    REVOKED = "revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a reason
    REFRESH_REUSED = "refresh_reused"
    SWITCHED_OFF = "switched_off"
    FACTORS_CHANGED = "factors_changed"
    EMAIL_CHANGE_UNDONE = "email_change_undone"
    LOGIN_CLOSED = "login_closed"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One of the tokens of a session, each of which has one successor.

    ``salt`` is what the successor was made from, once the token is used.
    """

    session_id: UUID
    generation: int
    used_at: int | None
    salt: bytes | None


class RefreshVerdict(Enum):
    """What a refresh token is good for."""

    NEXT = "a new pair"
    AGAIN = "the pair that it gave a moment ago"
    REUSED = "nothing, and its session must end"
    NONE = "nothing"


def check_refresh(token: RefreshToken, session: Session, now_us: int) -> RefreshVerdict:
    """What becomes of a refresh token (RFC 9700, 4.14.2: rotation and the detection of reuse).

    A used one gives the same pair once more for a minute, as long as nobody has used its successor;
    after that, two parties have it.
    """
    if not session.is_open(now_us):
        return RefreshVerdict.NONE
    if token.used_at is None:
        return RefreshVerdict.NEXT
    is_last_used = token.generation == session.generation - 1
    if is_last_used and now_us - token.used_at <= REUSE_GRACE_US:
        return RefreshVerdict.AGAIN
    return RefreshVerdict.REUSED
