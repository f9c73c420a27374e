"""Limits per window: counted by the booking date in UTC, weeks from Monday."""

from datetime import UTC, datetime

import pytest

from guilder.core.clock import DAY_US, from_datetime
from guilder.core.money import MAX_AMOUNT
from guilder.domains.ledger.rules.state import AccountFlag, LedgerState, Limit, Unit
from guilder.domains.ledger.rules.windows import PERIODS, exceeded, use, used, window_start
from tests.domains.ledger.desk import (
    ALICE,
    BOB,
    NOW,
    account,
    ask,
    books,
    decided,
    hold,
    only,
    pay,
    said,
)


def at(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def limited(*limits: Limit) -> LedgerState:
    """Alice has plenty and these limits."""
    return books(
        account(ALICE, 10_000, flags=int(AccountFlag.LIMITED)), account(BOB, 10_000), limits=limits
    )


@pytest.mark.parametrize(
    ("period", "last", "next_", "start"),
    [
        ("day", "2026-09-21T23:59:59.999999", "2026-09-22T00:00:00", "2026-09-21"),
        ("week", "2026-09-27T23:59:59.999999", "2026-09-28T00:00:00", "2026-09-21"),  # a Sunday
        ("week", "2027-01-03T23:59:59.999999", "2027-01-04T00:00:00", "2026-12-28"),  # ISO week 53
        ("month", "2026-09-30T23:59:59.999999", "2026-10-01T00:00:00", "2026-09-01"),
        ("month", "2028-02-29T23:59:59.999999", "2028-03-01T00:00:00", "2028-02-01"),
        ("month", "2026-12-31T23:59:59.999999", "2027-01-01T00:00:00", "2026-12-01"),
    ],
)
def test_a_window_ends_at_midnight_utc(period: str, last: str, next_: str, start: str) -> None:
    assert window_start(period, at(last)) == at(start) // DAY_US
    assert window_start(period, at(start)) == at(start) // DAY_US
    assert window_start(period, at(next_)) > window_start(period, at(last))
    state = limited(Limit(ALICE, period, 100, None))
    assert ask(state, pay(ALICE, BOB, 60), now_us=at(start)) == ["created"]
    assert ask(state, pay(ALICE, BOB, 41), now_us=at(last)) == ["limit_exceeded"]
    state.clock_us = min(state.clock_us, at(last) - 10)
    assert ask(state, pay(ALICE, BOB, 40), now_us=at(last)) == ["created"]
    assert ask(state, pay(ALICE, BOB, 100), now_us=at(next_)) == ["created"]
    assert state.limits[ALICE][0].window_start == window_start(period, at(next_))


def test_an_unknown_period_is_refused() -> None:
    with pytest.raises(ValueError, match="no such period: year"):
        window_start("year", NOW)
    assert PERIODS == ("transaction", "day", "week", "month")


def test_a_limit_per_transaction_remembers_nothing() -> None:
    state = limited(Limit(ALICE, "transaction", 100, None))
    assert ask(state, *[pay(ALICE, BOB, amount) for amount in (100, 101, 100)]) == [
        "created", "limit_exceeded", "created",
    ]  # fmt: skip
    assert used(state.limits[ALICE][0], NOW) == (0, 0)


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_count_limit_counts_postings_whatever_their_amount(period: str) -> None:
    state = limited(Limit(ALICE, period, None, 2))
    assert ask(state, *[pay(ALICE, BOB, 1) for _ in range(3)]) == [
        "created", "created", "limit_exceeded",
    ]  # fmt: skip


def test_a_refusal_tells_the_facts_of_the_limit() -> None:
    state = limited(Limit(ALICE, "day", 100, 5))
    ask(state, pay(ALICE, BOB, 70))
    assert only(decided(state, pay(ALICE, BOB, 31))).extra == {
        "period": "day", "measure": "amount", "limit": 100, "used": 70, "remaining": 30,
    }  # fmt: skip
    state.limits[ALICE][0].max_count = 1
    assert only(decided(state, pay(ALICE, BOB, 30))).extra == {
        "period": "day", "measure": "count", "limit": 1, "used": 1, "remaining": 0,
    }  # fmt: skip


def test_nothing_remains_of_a_limit_that_was_lowered_below_its_use() -> None:
    limit = Limit(ALICE, "day", 50, None, window_start("day", NOW), 70, 1)
    facts = exceeded(limit, 1, NOW)
    assert facts is not None
    assert (facts["used"], facts["remaining"]) == (70, 0)


def test_the_first_limit_that_is_passed_is_told() -> None:
    state = limited(Limit(ALICE, "day", 100, None), Limit(ALICE, "month", 100, 0))
    for amount, told in ((101, ("day", "amount")), (100, ("month", "count"))):
        extra = only(decided(state, pay(ALICE, BOB, amount))).extra
        assert extra is not None
        assert (extra["period"], extra["measure"]) == told


def test_a_refused_posting_uses_nothing_up() -> None:
    state = limited(Limit(ALICE, "day", 100, None), Limit(ALICE, "month", 50, None))
    assert ask(state, pay(ALICE, BOB, 60), pay(ALICE, BOB, 50)) == ["limit_exceeded", "created"]
    assert [(limit.used_amount, limit.used_count) for limit in state.limits[ALICE]] == [(50, 1)] * 2


def test_a_hold_counts_when_it_is_made_and_not_again_when_it_is_captured() -> None:
    state = limited(Limit(ALICE, "day", 100, None))
    ask(state, hold(ALICE, BOB, 70))
    assert ask(state, hold(ALICE, BOB, 31), pay(ALICE, BOB, 31)) == ["limit_exceeded"] * 2
    assert state.limits[ALICE][0].used_amount == 70


def test_only_what_leaves_an_account_counts() -> None:
    state = limited(Limit(ALICE, "day", 1, None))
    assert ask(state, pay(BOB, ALICE, 500)) == ["created"]
    assert state.limits[ALICE][0].used_count == 0


def test_the_limits_of_others_do_not_bind() -> None:
    state = limited(Limit(BOB, "day", 0, 0))
    assert ask(state, pay(ALICE, BOB, 1)) == ["created"]


def test_an_account_without_the_bit_has_no_limits() -> None:
    for make in (pay, hold):
        state = books(account(ALICE, 100), account(BOB), limits=(Limit(ALICE, "day", 0, 0),))
        decision = decided(state, make(ALICE, BOB, 1))
        assert only(decision).status == "created"
        assert decision.changed_limits == {}


def test_the_use_of_a_limit_is_written_with_the_batch() -> None:
    state = limited(Limit(ALICE, "day", None, 10), Limit(ALICE, "week", 500, None))
    decision = decided(state, pay(ALICE, BOB, 30), pay(ALICE, BOB, 12))
    assert {key: (u.used_amount, u.used_count) for key, u in decision.changed_limits.items()} == {
        (ALICE, "day"): (42, 2), (ALICE, "week"): (42, 2),
    }  # fmt: skip


def test_a_group_that_fails_leaves_the_use_that_came_before_it_to_be_written() -> None:
    periods = ("day", "week", "month")
    state = limited(*(Limit(ALICE, period, 100, None) for period in periods))
    undone = Unit([pay(ALICE, BOB, 5), pay(BOB, ALICE, 10**6)], atomic=True)
    decision = decided(state, pay(ALICE, BOB, 30), undone)
    assert said(decision) == ["created", "group_failed", "insufficient_funds"]
    assert {key: (u.used_amount, u.used_count) for key, u in decision.changed_limits.items()} == {
        (ALICE, period): (30, 1) for period in periods
    }


def test_the_window_is_that_of_the_booking_and_not_of_the_value_date() -> None:
    state = limited(Limit(ALICE, "day", 100, None))
    assert ask(state, pay(ALICE, BOB, 60), pay(ALICE, BOB, 60, value_on=1)) == [
        "created", "limit_exceeded",
    ]  # fmt: skip


def test_a_window_changes_within_a_batch_when_the_books_clock_passes_midnight() -> None:
    midnight = at("2026-09-22T00:00:00")
    state = limited(Limit(ALICE, "day", None, 1))
    state.clock_us = midnight - 2  # the next bookings: a microsecond before midnight, midnight
    postings = [pay(ALICE, BOB, 1), pay(ALICE, BOB, 2), pay(ALICE, BOB, 3)]
    decision = decided(state, Unit(postings), now_us=midnight - 1)
    assert [r.status for r in decision.results[0].results] == ["created", "created", "rejected"]


def test_what_a_window_has_used_never_passes_the_largest_counter() -> None:
    limit = Limit(ALICE, "day", None, 10**6, window_start("day", NOW), MAX_AMOUNT - 1, 1)
    use(limit, 5, NOW)
    assert (limit.used_amount, limit.used_count) == (MAX_AMOUNT, 2)
