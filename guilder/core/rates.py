"""The token bucket as a pure rule: how often somebody may do something.

A bucket's whole state is one instant, ``full_at_us``: when it will be full again if nothing more
is taken. Every store keeps that number and nothing else, so all of them decide alike.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from guilder.core.clock import SECOND_US

FULL: Final = 0
"""The state of a bucket that nobody has taken from: it was full long ago."""


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


def verdict(rate: Rate, owed_us: int, *, allowed: bool) -> Verdict:
    """What a bucket says that will be full in ``owed_us``, after it has decided."""
    wait_us = 0 if allowed else owed_us + rate.token_us - rate.full_us
    return Verdict(
        allowed,
        (rate.full_us - owed_us) // rate.token_us,
        -(-owed_us // SECOND_US),
        -(-wait_us // SECOND_US),
    )
