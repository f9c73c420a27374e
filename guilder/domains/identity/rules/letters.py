"""Letters that were asked for, and what their tokens are good for."""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from guilder.core.clock import DAY_US, MINUTE_US
from guilder.core.result import Err, Ok
from guilder.domains.identity.errors import TokenExpired, TokenInvalid

MOST_A_DAY: Final = 5
"""Letters that go to one mailbox within a day because somebody asked, whoever that was."""


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
    def cooldown_us(self) -> int:
        """For how long no second letter of the kind goes to the same user.

        Short against the life of a token: whoever asks again has one that is good.
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


def check_token(
    letter: Letter, purpose: Purpose, now_us: int
) -> Ok[Letter] | Err[TokenInvalid] | Err[TokenExpired]:
    """The letter that brought a token, while that is good for what is wanted of it."""
    if letter.purpose is not purpose or letter.used_at is not None:
        return Err(TokenInvalid())
    return Ok(letter) if now_us < letter.expires_at else Err(TokenExpired())
