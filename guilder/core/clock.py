"""Instants as whole microseconds since 1970-01-01T00:00Z, and the clocks that give them.

This is the only module that reads the system's time of day.
"""

import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol

DAY_US: Final = 86_400_000_000
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


class Clock(Protocol):
    """Gives the present instant."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's own time; sessions, tokens and logs stay on it."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return time.time_ns() // 1000


class FixedClock:
    """Stands still until it is told to move: for tests and for seeding history."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us

    def now_us(self) -> int:
        """The instant it was set to."""
        return self.at_us

    def advance(self, **delta: float) -> None:
        """Move on by a ``timedelta`` given in keywords."""
        self.at_us += timedelta(**delta) // timedelta(microseconds=1)


def offset_now(clock: Clock, offset_us: int) -> int:
    """The bank's time: ``clock`` moved by the bank-wide offset that the test clock has set.

    The offset is stored beside the ledger's head, so every process books by the same time.
    """
    return clock.now_us() + offset_us


def to_datetime(at_us: int) -> datetime:
    """The instant as an aware UTC ``datetime``."""
    return _EPOCH + timedelta(microseconds=at_us)


def from_datetime(at: datetime) -> int:
    """Microseconds of an aware ``datetime``. Raises ``ValueError`` for a naive one."""
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return (at - _EPOCH) // timedelta(microseconds=1)


def iso_instant(at_us: int) -> str:
    """RFC 3339 in UTC with microseconds and ``Z``."""
    seconds, us = divmod(at_us, SECOND_US)
    return f"{_iso_second(seconds)}.{us:06}Z"


@lru_cache(4_096)
def _iso_second(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{iso_day(day)}T{hour:02}:{minute:02}:{second:02}"


@lru_cache(4_096)
def iso_day(day: int) -> str:
    """The date of a count of days since 1970, as ``YYYY-MM-DD``."""
    return day_date(day).isoformat()


def day_of(at_us: int) -> int:
    """Days since 1970 of the UTC date that the instant falls on."""
    return at_us // DAY_US


def day_number(on: date) -> int:
    """Days since 1970 of a date."""
    return on.toordinal() - _EPOCH_ORDINAL


def day_date(day: int) -> date:
    """The date of a count of days since 1970."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def day_start(day: int) -> int:
    """The first instant of a day, in microseconds."""
    return day * DAY_US
