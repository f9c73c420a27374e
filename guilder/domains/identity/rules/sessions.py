"""Sessions and their refresh tokens as plain values."""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from guilder.core.clock import DAY_US, SECOND_US
from guilder.domains.identity.rules.rotations import FIRST_VERSION

SESSION_US: Final = 30 * DAY_US
"""How long a refresh token is good, and a session without a new one."""
REUSE_GRACE_US: Final = 10 * SECOND_US
"""How long a used refresh token gives its successor once more: a client that asked twice."""


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

    A used one gives the same pair once more for some seconds, as long as nobody has used its
    successor; after that, two parties have it.
    """
    if not session.is_open(now_us):
        return RefreshVerdict.NONE
    if token.used_at is None:
        return RefreshVerdict.NEXT
    is_last_used = token.generation == session.generation - 1
    if is_last_used and now_us - token.used_at <= REUSE_GRACE_US:
        return RefreshVerdict.AGAIN
    return RefreshVerdict.REUSED
