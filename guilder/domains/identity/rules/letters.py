"""Letters that were asked for, and what their tokens are good for."""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from guilder.core.clock import DAY_US, HOUR_US, MINUTE_US
from guilder.core.result import Err, Ok
from guilder.domains.identity.errors import TokenExpired, TokenInvalid
from guilder.domains.identity.rules.users import email_key

MOST_A_DAY: Final = 5
"""Letters that go to one mailbox within a day because somebody asked, whoever that was."""
MOST_OF_OTHERS: Final = 3
"""After so many of them none goes about somebody's change to the address or sign-up with it, so
that the owner of the mailbox still gets the letters that let them in."""


class Purpose(Enum):
    """What a letter is for."""

    VERIFICATION = "verification"
    RESET = "reset"
    LOCK = "lock"
    CODES = "codes"
    SESSION = "session"
    FACTORS = "factors"
    KNOWN = "known"
    NEW_EMAIL = "new_email"
    UNDO_EMAIL = "undo_email"
    WITHOUT_CODE = "without_code"

    @property
    def token_us(self) -> int:
        """How long the token in it is good; a letter about wrong guesses has none."""
        return _TOKEN_US.get(self, 0)

    @property
    def wait_us(self) -> int:
        """How long a letter may wait for the way to be free; later it is not sent any more."""
        return HOUR_US if self is Purpose.RESET else DAY_US

    @property
    def delay_us(self) -> int:
        """How long it waits before it goes: who gave no code mostly does so within that time."""
        return 5 * MINUTE_US if self is Purpose.WITHOUT_CODE else 0

    @property
    def cooldown_us(self) -> int:
        """For how long no second letter of the kind goes to the same user.

        Short against the life of a token: whoever asks again has one that is good.
        """
        if self in _OWNERS:
            return 0
        return 3 * MINUTE_US if self.token_us else DAY_US

    @property
    def most_a_day(self) -> int | None:
        """How many that were asked for may have gone to a mailbox, that day, when one more goes.

        None for warnings and for what only the owner can ask for: these do not count themselves.
        """
        return _MOST_A_DAY.get(self)


_TOKEN_US: Final = {
    Purpose.VERIFICATION: DAY_US,
    Purpose.RESET: 15 * MINUTE_US,
    Purpose.FACTORS: DAY_US,
    Purpose.NEW_EMAIL: DAY_US,
    Purpose.UNDO_EMAIL: 7 * DAY_US,
}
_MOST_A_DAY: Final = {
    Purpose.VERIFICATION: MOST_A_DAY,
    Purpose.RESET: MOST_A_DAY,
    Purpose.NEW_EMAIL: MOST_OF_OTHERS,
    Purpose.KNOWN: MOST_OF_OTHERS,
}
_OWNERS: Final = frozenset((Purpose.FACTORS, Purpose.NEW_EMAIL, Purpose.UNDO_EMAIL))
"""What follows something that only somebody can do who is signed in or has read a letter."""


CLAIM_US: Final = MINUTE_US
"""How long a letter counts as under way: longer than an attempt to send it takes."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that was asked for; ``user_id`` is None when the address is nobody's.

    The life of its token begins when it is sent; ``expires_at`` is until then a bound of it.
    """

    id: UUID
    purpose: Purpose
    user_id: UUID | None
    created_at: int
    expires_at: int
    sent_at: int | None = None
    used_at: int | None = None

    def is_stale(self, now_us: int) -> bool:
        """Whether it should not be sent any more: others were used, or it has waited too long."""
        waits = self.sent_at is None and now_us - self.created_at >= self.purpose.wait_us
        return waits or self.used_at is not None


def mailbox_key(address: str) -> bytes:
    """What letters to one mailbox are counted by: not the address, which is kept with its user."""
    return hashlib.sha256(email_key(address).encode()).digest()


def check_token(
    letter: Letter, purpose: Purpose, now_us: int
) -> Ok[Letter] | Err[TokenInvalid] | Err[TokenExpired]:
    """The letter that brought a token, while that is good for what is wanted of it."""
    if letter.purpose is not purpose or letter.used_at is not None:
        return Err(TokenInvalid())
    return Ok(letter) if now_us < letter.expires_at else Err(TokenExpired())
