"""Failed attempts in a row, and the lock that follows."""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Final

from guilder.core.clock import MINUTE_US, SECOND_US

MAX_FAILURES: Final = 5
"""Wrong passwords in a row after which nobody is let in for a while."""
LOCK_US: Final = 15 * MINUTE_US


class Locked(Enum):
    """What is locked, in words for the one who tried."""

    SIGN_IN = "There were too many failed attempts to sign in with this e-mail address."
    SECOND_FACTOR = "There were too many wrong codes for this sign-in."
    STEP_UP = (
        "There were too many wrong passwords or codes in this session, so step-ups are paused."
    )
    CHANGE = (
        "There were too many wrong passwords in this session, so changing the password is paused."
    )


@dataclass(frozen=True, slots=True)
class Failures:
    """Wrong passwords in a row: how many, the last when, and until when the key is locked."""

    in_a_row: int = 0
    last_at: int = 0
    locked_until: int = 0

    def with_failure(self, now_us: int) -> "Failures":
        """With another failure now; those of longer ago than a lock lasts are forgotten.

        One that was under way when the lock came leaves it as it is.
        """
        if now_us < self.locked_until:
            return self
        count = 1 if now_us - self.last_at > LOCK_US else self.in_a_row + 1
        if count < MAX_FAILURES:
            return Failures(count, now_us)
        return Failures(0, now_us, now_us + LOCK_US)

    def locked_seconds(self, now_us: int) -> int:
        """How long the key stays locked, rounded up to seconds; 0 when it is not."""
        return max(0, -((now_us - self.locked_until) // SECOND_US))


def failures_key(*parts: str) -> bytes:
    """Under which failures are counted; the database does not tell who tried what."""
    return hashlib.sha256("\0".join(parts).encode()).digest()
