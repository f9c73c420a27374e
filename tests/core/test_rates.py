"""The token bucket: what a rate is, and what it lets through."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.clock import SECOND_US
from guilder.core.rates import FULL, Rate, Verdict, give_back, take

NOW = 1_790_000_000 * SECOND_US
TEN_A_MINUTE = Rate(10, 60)

rates = st.builds(Rate, st.integers(1, 50), st.integers(1, 3600))
pauses = st.lists(st.integers(0, 90 * SECOND_US) | st.integers(0, 5), max_size=60)


@pytest.mark.parametrize(("capacity", "window"), [(0, 1), (1, 0), (-1, 60), (1_000_001, 1)])
def test_a_bucket_that_holds_or_gives_nothing_is_refused(capacity: int, window: int) -> None:
    with pytest.raises(ValueError, match="a bucket"):
        Rate(capacity, window)


def test_a_rate_knows_what_a_token_costs() -> None:
    assert (TEN_A_MINUTE.token_us, TEN_A_MINUTE.full_us) == (6 * SECOND_US, 60 * SECOND_US)
    assert Rate(7, 60).full_us <= 60 * SECOND_US


def test_a_full_bucket_gives_all_it_holds_and_then_says_when_to_come_back() -> None:
    state, said = FULL, []
    for _ in range(11):
        state, verdict = take(TEN_A_MINUTE, state, NOW)
        said.append(verdict)
    assert said[0] == Verdict(True, 9, 6, 0)
    assert said[9] == Verdict(True, 0, 60, 0)
    assert said[10] == Verdict(False, 0, 60, 6)
    assert state == NOW + 60 * SECOND_US


def test_seconds_are_rounded_up() -> None:
    rate = Rate(1, 60)
    state, _ = take(rate, FULL, NOW)
    _, verdict = take(rate, state, NOW + 1)
    assert verdict == Verdict(False, 0, 60, 60)
    _, verdict = take(rate, state, state - 1)
    assert verdict == Verdict(False, 0, 1, 1)


def test_a_clock_set_back_refuses_for_no_longer_than_the_bucket_takes_to_fill() -> None:
    state = NOW + 3600 * SECOND_US
    state, verdict = take(TEN_A_MINUTE, state, NOW)
    assert verdict == Verdict(False, 0, 60, 6)
    _, verdict = take(TEN_A_MINUTE, state, NOW + 6 * SECOND_US)
    assert verdict.allowed


@given(rates, pauses)
def test_it_decides_as_tokens_that_drip_into_a_bucket(rate: Rate, steps: list[int]) -> None:
    tokens, state, now = Fraction(rate.capacity), FULL, NOW
    for pause in steps:
        now += pause
        tokens = min(Fraction(rate.capacity), tokens + Fraction(pause, rate.token_us))
        state, verdict = take(rate, state, now)
        assert verdict.allowed == (tokens >= 1)
        if verdict.allowed:
            tokens -= 1
        assert verdict.remaining == int(tokens)
        missing_us = (rate.capacity - tokens) * rate.token_us
        assert verdict.reset_seconds == -(-missing_us // SECOND_US)


@given(rates, pauses)
def test_no_stretch_of_time_gives_more_than_the_bucket_and_its_refill(
    rate: Rate, steps: list[int]
) -> None:
    state, now, given_at = FULL, NOW, []
    for pause in steps:
        now += pause
        state, verdict = take(rate, state, now)
        if verdict.allowed:
            given_at.append(now)
    for first, begun in enumerate(given_at):
        for last, ended in enumerate(given_at[first:]):
            assert last + 1 <= rate.capacity + (ended - begun) // rate.token_us


@given(rates, pauses)
def test_who_waits_as_told_succeeds_and_who_comes_a_second_early_does_not(
    rate: Rate, steps: list[int]
) -> None:
    state, now = FULL, NOW
    for pause in steps:
        now += pause
        state, verdict = take(rate, state, now)
        if not verdict.allowed:
            wait_us = verdict.retry_after_seconds * SECOND_US
            assert take(rate, state, now + wait_us)[1].allowed
            assert not take(rate, state, now + wait_us - SECOND_US)[1].allowed
        else:
            assert verdict.retry_after_seconds == 0


@pytest.mark.parametrize(
    ("text", "rate", "again"),
    [
        ("600/m", Rate(600, 60), "600/m"),
        ("60/10m", Rate(60, 600), "60/10m"),
        ("200/d", Rate(200, 86_400), "200/d"),
        (" 5/90s ", Rate(5, 90), "5/90s"),
        ("1/60m", Rate(1, 3_600), "1/h"),
    ],
)
def test_a_rate_is_written_as_people_write_it(text: str, rate: Rate, again: str) -> None:
    assert Rate.read(text) == rate
    assert str(rate) == again
    assert Rate.read(again) == rate


@pytest.mark.parametrize(
    "text", ["", "600", "0/m", "600/", "/m", "600/w", "-1/m", "1.5/m", "1/0m", "9999999/m", "1/32d"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|fills"):
        Rate.read(text)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_what_is_given_back_can_be_taken_again_and_no_more(
    capacity: int, taken: int, back: int
) -> None:
    rate, now, state = Rate(capacity, 60), NOW, FULL
    for _ in range(taken):
        state, _ = take(rate, state, now)
    for _ in range(back):
        state = give_back(state, rate.token_us, now)
    left = min(capacity, capacity - min(taken, capacity) + back)
    _, said = take(rate, state, now)
    assert said.remaining == max(left - 1, 0)
    assert said.allowed == (left > 0)
