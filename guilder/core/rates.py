"""The token bucket as a pure rule: how often somebody may do something.

A bucket's whole state is one instant, ``full_at_us``: when it will be full again if nothing more
is taken. Every store keeps that number and nothing else, so all of them decide alike.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from guilder.core.clock import SECOND_US

FULL: Final = 0
"""The state of a bucket that nobody has taken from: it was full long ago."""
MAX_CAPACITY: Final = 1_000_000
MAX_WINDOW_SECONDS: Final = 31 * 86_400

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WRITTEN: Final = re.compile(r"([1-9][0-9]{0,6})/([1-9][0-9]{0,3})?([smhd])")


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket of ``capacity`` tokens that fills from empty within ``window_seconds``.

    It fills evenly, a token every ``token_us``; ``full_us`` is how long all of it takes.
    """

    capacity: int
    window_seconds: int
    token_us: int = field(init=False)
    full_us: int = field(init=False)

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.window_seconds < 1:
            raise ValueError("a bucket holds at least a token and fills within a second or more")
        token_us = self.window_seconds * SECOND_US // self.capacity
        if token_us < 1:
            raise ValueError("a bucket fills by one token a microsecond at most")
        object.__setattr__(self, "token_us", token_us)
        object.__setattr__(self, "full_us", token_us * self.capacity)

    @classmethod
    def read(cls, text: str) -> "Rate":
        """A rate as people write it: ``600/m``, ``60/10m``, ``200/d``. Raises ``ValueError``."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            raise ValueError("must be a number a time, such as 600/m, 60/10m or 200/d")
        capacity, window = int(found[1]), int(found[2] or 1) * _UNITS[found[3]]
        if capacity > MAX_CAPACITY or window > MAX_WINDOW_SECONDS:
            raise ValueError("must be at most 1,000,000, within at most 31 days")
        return cls(capacity, window)

    def __str__(self) -> str:
        unit = next(u for u in reversed(_UNITS) if self.window_seconds % _UNITS[u] == 0)
        times = self.window_seconds // _UNITS[unit]
        return f"{self.capacity}/{times if times > 1 else ''}{unit}"


RATES: Final[Mapping[str, Rate]] = {
    "read": Rate(600, 60),
    "write": Rate(600, 60),
    "bulk": Rate(120, 60),
    "login": Rate(300, 60),
    "wrong_guesses": Rate(20, 60),
    "wrong_guesses_a_day": Rate(200, 86_400),
    "sign_up": Rate(10, 60),
    "refresh": Rate(1_200, 60),
    "recovery": Rate(60, 600),
    "reveal": Rate(30, 600),
    "failed_tokens": Rate(600, 60),
    "health": Rate(3_000, 60),
    "assets": Rate(600, 60),
}
"""Each policy's rate, by its name, unless a setting says otherwise."""


class Verdict(NamedTuple):
    """What a bucket says to somebody who wants a token.

    ``remaining`` tokens are left and it is full in ``reset_seconds``; when not allowed, there is a
    token after ``retry_after_seconds``. Seconds are rounded up: who waits that long, succeeds.
    """

    allowed: bool
    remaining: int
    reset_seconds: int
    retry_after_seconds: int


def take(rate: Rate, full_at_us: int, now_us: int) -> tuple[int, Verdict]:
    """Take a token: the bucket's new state, and what it says. A refusal takes nothing.

    A clock that was set back refuses nobody for longer than the bucket takes to fill.
    """
    owed_us = min(max(full_at_us - now_us, 0), rate.full_us)
    allowed = owed_us + rate.token_us <= rate.full_us
    if allowed:
        owed_us += rate.token_us
    return now_us + owed_us, verdict(rate, owed_us, allowed=allowed)


def give_back(full_at_us: int, token_us: int, now_us: int) -> int:
    """A bucket's new state after a token was put back into it; it never holds more than all."""
    return max(full_at_us - token_us, now_us)


def verdict(rate: Rate, owed_us: int, *, allowed: bool) -> Verdict:
    """What a bucket says that will be full in ``owed_us``, after it has decided."""
    wait_us = 0 if allowed else owed_us + rate.token_us - rate.full_us
    return Verdict(
        allowed,
        (rate.full_us - owed_us) // rate.token_us,
        -(-owed_us // SECOND_US),
        -(-wait_us // SECOND_US),
    )
