import time
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.clock import (
    DAY_US,
    FixedClock,
    SystemClock,
    day_date,
    day_number,
    day_of,
    day_start,
    from_datetime,
    iso_instant,
    offset_now,
    to_datetime,
)

ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours, minutes=30)))
FIRST, LAST = (datetime.fromisoformat(text) for text in ("0002-01-01", "9998-12-31"))
MOMENTS = st.datetimes(FIRST, LAST, timezones=ZONES)


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused


@given(MOMENTS)
def test_an_instant_survives_the_round_trip_from_any_zone(at: datetime) -> None:
    assert to_datetime(from_datetime(at)) == at
    assert to_datetime(from_datetime(at)).tzinfo is UTC


@given(st.integers(-(2**55), 2**57))
def test_microseconds_survive_the_round_trip(at_us: int) -> None:
    assert from_datetime(to_datetime(at_us)) == at_us
    assert datetime.fromisoformat(iso_instant(at_us)) == to_datetime(at_us)


@given(st.dates())
def test_a_date_survives_the_round_trip(on: date) -> None:
    day = day_number(on)
    assert day_date(day) == on
    assert day_of(day_start(day)) == day
    assert day_of(day_start(day) + DAY_US - 1) == day
    assert day_of(day_start(day) - 1) == day - 1


def test_days_are_counted_from_1970_in_utc() -> None:
    assert day_number(date(1970, 1, 1)) == 0
    assert day_of(-1) == -1
    late = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert day_date(day_of(from_datetime(late))) == date(2026, 2, 28)


@pytest.mark.parametrize(
    ("at_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_790_000_000_000_001, "2026-09-21T14:13:20.000001Z"),
        (-30_610_224_000_000_001, "0999-12-31T23:59:59.999999Z"),  # four digits, always
    ],
)
def test_an_instant_is_written_as_rfc_3339(at_us: int, text: str) -> None:
    assert iso_instant(at_us) == text


def test_the_system_clock_tells_the_machines_time() -> None:
    before = time.time_ns() // 1000
    now_us = SystemClock().now_us()
    assert before <= now_us <= time.time_ns() // 1000


def test_a_fixed_clock_moves_only_when_told() -> None:
    clock = FixedClock(1_000)
    assert (clock.now_us(), clock.now_us()) == (1_000, 1_000)
    clock.advance(seconds=1, microseconds=5)
    assert clock.now_us() == 1_001_005
    clock.advance(days=-1)
    assert clock.now_us() == 1_001_005 - DAY_US


def test_the_banks_time_is_the_clocks_moved_by_the_offset() -> None:
    assert offset_now(FixedClock(500), 25) == 525
    assert offset_now(FixedClock(500), -600) == -100
