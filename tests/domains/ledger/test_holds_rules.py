"""Money set aside: it counts at once, and it is spent once."""

from collections.abc import Callable

import pytest

from guilder.core.clock import SECOND_US
from guilder.domains.ledger.rules.state import (
    AccountFlag,
    Hold,
    HoldState,
    Kind,
    LedgerState,
    Posting,
    Unit,
)
from tests.domains.ledger.desk import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    about,
    account,
    ask,
    books,
    capture,
    decided,
    hold,
    only,
    pay,
    said,
)

LATER = NOW + 60 * SECOND_US


def held(amount: int = 60, **more: object) -> LedgerState:
    """Alice has 100, of which ``amount`` is set aside for Bob under number 1."""
    state = books(account(ALICE, 100), account(BOB))
    assert ask(state, hold(ALICE, BOB, amount, **more)) == ["created"]
    return state


def counters(state: LedgerState, number: int = ALICE) -> tuple[int, int, int, int]:
    a = state.accounts[number]
    return a.debits, a.credits, a.debits_pending, a.credits_pending


def test_a_hold_moves_nothing_and_counts_against_what_is_available() -> None:
    state = books(account(ALICE, 100), account(BOB))
    decision = decided(state, hold(ALICE, BOB, 60, expires_at=LATER))
    assert counters(state, ALICE) == (0, 100, 60, 0)
    assert counters(state, BOB) == (0, 0, 0, 60)
    assert decision.new_holds == [Hold(1, ALICE, BOB, "USD", 60, HoldState.OPEN, LATER)]
    assert [entry[2] for entry in decision.entries] == [0, 0]
    assert (only(decision).debit_after, only(decision).credit_after) == (100, 0)
    assert ask(state, pay(ALICE, BOB, 41), hold(ALICE, BOB, 41), pay(ALICE, BOB, 40)) == [
        "insufficient_funds", "insufficient_funds", "created",
    ]  # fmt: skip


@pytest.mark.parametrize("amount", [60, 0])
@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.CAPTURE_FINAL])
def test_a_capture_of_all_moves_it_and_ends_the_hold(amount: int, kind: Kind) -> None:
    state = held()
    decision = decided(state, about(kind, 1, amount))
    assert counters(state, ALICE) == (60, 100, 0, 0)
    assert counters(state, BOB) == (0, 60, 0, 0)
    assert (state.holds[1].remaining, state.holds[1].state) == (0, HoldState.CAPTURED)
    assert decision.transfers[0][1:5] == (Kind.CAPTURE_FINAL, ALICE, BOB, 60)
    assert decision.transfers[0][8] == 1
    assert decision.changed_holds == {1: state.holds[1]}


def test_a_partial_capture_leaves_the_rest_set_aside() -> None:
    state = held()
    decision = decided(state, capture(1, 20))
    assert only(decision).amount == 20
    assert decision.transfers[0][1] == Kind.CAPTURE
    assert counters(state, ALICE) == (20, 100, 40, 0)
    assert (state.holds[1].remaining, state.holds[1].state) == (40, HoldState.OPEN)
    assert ask(state, capture(1, 41), capture(1, 30), capture(1), capture(1)) == [
        "hold_exceeded", "created", "created", "hold_spent",
    ]  # fmt: skip
    assert counters(state, ALICE) == (60, 100, 0, 0)


def test_a_final_partial_capture_gives_the_rest_back() -> None:
    state = held()
    decision = decided(state, about(Kind.CAPTURE_FINAL, 1, 20))
    assert decision.transfers[0][1:5] == (Kind.CAPTURE_FINAL, ALICE, BOB, 20)
    assert counters(state, ALICE) == (20, 100, 0, 0)
    assert counters(state, BOB) == (0, 20, 0, 0)
    assert (state.holds[1].remaining, state.holds[1].state) == (0, HoldState.CAPTURED)
    assert ask(state, capture(1, 1), pay(ALICE, BOB, 80)) == ["hold_spent", "created"]


def test_a_capture_beyond_the_hold_says_what_is_left() -> None:
    state = held()
    for kind in (Kind.CAPTURE, Kind.CAPTURE_FINAL):
        result = only(decided(state, about(kind, 1, 61)))
        assert result.refusal is not None
        assert (result.refusal.code, result.extra) == ("hold_exceeded", {"remaining": 60})
    assert counters(state) == (0, 100, 60, 0)


def test_a_release_gives_everything_back_and_moves_nothing() -> None:
    state = held()
    decided(state, capture(1, 20))
    decision = decided(state, about(Kind.RELEASE, 1))
    assert (only(decision).amount, decision.transfers[0][1]) == (40, Kind.RELEASE)
    assert [entry[2] for entry in decision.entries] == [0, 0]
    assert counters(state, ALICE) == (20, 100, 0, 0)
    assert counters(state, BOB) == (0, 20, 0, 0)
    assert state.holds[1].state == HoldState.RELEASED


def test_a_release_gives_everything_back_whatever_amount_is_named() -> None:
    for kind in (Kind.RELEASE, Kind.EXPIRY):
        state = held(expires_at=LATER)
        result = only(decided(state, about(kind, 1, 5), now_us=LATER))
        assert result.amount == 60
        assert counters(state) == (0, 100, 0, 0)


@pytest.mark.parametrize("first", [Kind.CAPTURE, Kind.CAPTURE_FINAL, Kind.RELEASE, Kind.EXPIRY])
@pytest.mark.parametrize("second", [Kind.CAPTURE, Kind.CAPTURE_FINAL, Kind.RELEASE, Kind.EXPIRY])
def test_a_hold_is_spent_once_by_whoever_comes_first(first: Kind, second: Kind) -> None:
    state = held(expires_at=LATER)
    at_us = LATER if first == Kind.EXPIRY else LATER - 10
    assert ask(state, about(first, 1), now_us=at_us) == ["created"]
    before = counters(state)
    assert ask(state, about(second, 1), now_us=LATER) == ["hold_spent"]
    assert counters(state) == before


@pytest.mark.parametrize(
    ("at_us", "captured", "expired"),
    [(LATER - 1, "created", "hold_not_found"), (LATER, "hold_expired", "created")],
)
def test_a_hold_expires_at_its_instant_and_not_before(
    at_us: int, captured: str, expired: str
) -> None:
    assert ask(held(expires_at=LATER), about(Kind.EXPIRY, 1), now_us=at_us) == [expired]
    for kind in (Kind.CAPTURE, Kind.CAPTURE_FINAL):
        assert ask(held(expires_at=LATER), about(kind, 1), now_us=at_us) == [captured]


def test_an_expiry_gives_everything_back() -> None:
    state = held(expires_at=LATER)
    decision = decided(state, about(Kind.EXPIRY, 1), now_us=LATER)
    assert decision.transfers[0][1:5] == (Kind.EXPIRY, ALICE, BOB, 60)
    assert counters(state, ALICE) == (0, 100, 0, 0)
    assert state.holds[1].state == HoldState.EXPIRED


def test_a_hold_without_an_end_never_expires() -> None:
    assert ask(held(), about(Kind.EXPIRY, 1), now_us=NOW * 2) == ["hold_not_found"]
    assert ask(held(), capture(1), now_us=NOW * 2) == ["created"]


def test_the_books_own_clock_counts_when_it_is_ahead_of_the_banks() -> None:
    state = held(expires_at=LATER)
    state.clock_us = LATER  # booked at LATER + 1, whatever the time of day says
    assert ask(state, capture(1), about(Kind.EXPIRY, 1)) == ["hold_expired", "created"]


def test_a_freeze_stops_a_capture_and_never_the_giving_back() -> None:
    for flags in (AccountFlag.FROZEN_DEBITS, AccountFlag.CLOSED):
        state = held()
        state.accounts[ALICE].flags = int(flags)
        code = "account_frozen" if flags == AccountFlag.FROZEN_DEBITS else "account_closed"
        assert ask(state, capture(1), about(Kind.RELEASE, 1)) == [code, "created"]


def test_a_capture_is_not_stopped_by_a_floor_that_was_raised_after_the_hold() -> None:
    state = held()
    state.accounts[ALICE].floor = 1_000
    assert ask(state, pay(ALICE, BOB, 1), capture(1, 60)) == ["insufficient_funds", "created"]


def test_a_hold_can_be_captured_in_the_batch_that_made_it() -> None:
    state = books(account(ALICE, 100), account(BOB))
    assert ask(state, hold(ALICE, BOB, 60), capture(1, 50), capture(1, 11), capture(1)) == [
        "created", "created", "hold_exceeded", "created",
    ]  # fmt: skip
    assert counters(state, BOB) == (0, 60, 0, 0)


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.RELEASE, Kind.EXPIRY])
def test_what_is_no_hold_cannot_be_spent(kind: Kind) -> None:
    state = books(account(ALICE, 100), account(BOB))
    assert ask(state, pay(ALICE, BOB, 10), about(kind, 1), about(kind, 99)) == [
        "created", "hold_not_found", "hold_not_found",
    ]  # fmt: skip


def test_a_capture_that_refers_to_nothing_finds_no_hold() -> None:
    state = held()
    posting = capture(1)
    posting.debit, posting.ref = ALICE, None
    assert ask(state, posting) == ["hold_not_found"]


@pytest.mark.parametrize("make", [pay, hold])
def test_a_hold_does_not_count_from_its_time_on_though_no_expiry_is_booked(
    make: Callable[..., Posting],
) -> None:
    state = held(expires_at=LATER)
    assert ask(state, make(ALICE, BOB, 41), now_us=LATER - 1) == ["insufficient_funds"]
    assert ask(state, make(ALICE, BOB, 101), now_us=LATER) == ["insufficient_funds"]
    assert ask(state, make(ALICE, BOB, 100), now_us=LATER) == ["created"]
    assert ask(state, make(ALICE, BOB, 1), about(Kind.EXPIRY, 1), now_us=LATER) == [
        "insufficient_funds", "created",
    ]  # fmt: skip
    assert ask(state, make(ALICE, BOB, 1), now_us=LATER) == ["insufficient_funds"]


@pytest.mark.parametrize(("expires_at", "word"), [(1, "created"), (2, "insufficient_funds")])
def test_whether_a_hold_counts_is_asked_for_the_instant_at_which_money_is_booked(
    expires_at: int, word: str
) -> None:
    """A microsecond after the last booking, when the clock has not moved on."""
    state = held(expires_at=NOW + expires_at)
    decision = decided(state, pay(ALICE, BOB, 100))
    assert said(decision) == [word]
    assert decision.clock_us == NOW + (word == "created")


def test_what_a_lapsed_hold_had_left_is_free_and_what_was_captured_is_not() -> None:
    state = held(expires_at=LATER)
    assert ask(state, capture(1, 20)) == ["created"]
    assert ask(state, pay(ALICE, BOB, 81), pay(ALICE, BOB, 80), now_us=LATER) == [
        "insufficient_funds", "created",
    ]  # fmt: skip


def test_what_a_lapsed_hold_would_have_brought_does_not_fill_an_account() -> None:
    state = held(expires_at=LATER)
    state.accounts[BOB].ceiling = 100
    assert ask(state, pay(ALICE, BOB, 41), now_us=LATER - 1) == ["insufficient_funds"]
    state.accounts[ALICE].floor = None
    assert ask(state, pay(ALICE, BOB, 41), now_us=LATER - 1) == ["balance_ceiling"]
    assert ask(state, pay(ALICE, BOB, 100), pay(ALICE, BOB, 1), now_us=LATER) == [
        "created", "balance_ceiling",
    ]  # fmt: skip


def test_a_lapsed_hold_frees_the_side_it_was_on_and_no_other() -> None:
    state = held(expires_at=LATER)
    state.accounts[CAROL] = account(CAROL)
    assert ask(state, pay(ALICE, CAROL, 101), pay(ALICE, CAROL, 100), now_us=LATER) == [
        "insufficient_funds", "created",
    ]  # fmt: skip
    state.accounts[BOB].ceiling = 100
    assert ask(state, pay(CAROL, BOB, 100), now_us=LATER) == ["created"]


def test_a_hold_that_was_taken_back_frees_nothing_when_it_would_have_lapsed() -> None:
    state = books(account(ALICE, 100), account(BOB))
    undone = [hold(ALICE, BOB, 60, expires_at=NOW), pay(ALICE, BOB, 1_000)]
    assert ask(state, Unit(undone, atomic=True)) == ["group_failed", "insufficient_funds"]
    assert ask(state, pay(ALICE, BOB, 101), now_us=LATER) == ["insufficient_funds"]
    assert counters(state) == (0, 100, 0, 0)


def test_a_hold_that_is_taken_back_leaves_the_others_of_its_accounts() -> None:
    state = LedgerState(last_no=2, clock_us=NOW)
    first, second = (Hold(number, ALICE, BOB, "USD", 10, expires_at=NOW) for number in (1, 2))
    state.watch(first)
    state.watch(second)
    state.forget(first)
    assert state.lapsing == {ALICE: [second], BOB: [second]}
    state.forget(second)
    assert state.lapsing == {}
