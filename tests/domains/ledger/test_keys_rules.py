"""Idempotency keys of postings and of whole units, the kept answers, and the booking clock."""

from uuid import UUID

import pytest

from guilder.core.errors import IdempotencyConflict
from guilder.domains.ledger.errors import REFUSAL_ORDER, InsufficientFunds
from guilder.domains.ledger.rules import answers
from guilder.domains.ledger.rules.state import (
    LedgerState,
    Posting,
    PostingResult,
    StoredKey,
    Unit,
    UnitResult,
)
from tests.domains.ledger.desk import (
    ALICE,
    BOB,
    NOW,
    SETTLEMENT,
    account,
    ask,
    books,
    decided,
    hold,
    only,
    pay,
    said,
    settlement,
)


def till() -> LedgerState:
    return books(settlement(), account(ALICE), account(BOB))


def keyed(amount: int = 5, key: bytes = b"k", fingerprint: bytes = b"f") -> Posting:
    return pay(SETTLEMENT, ALICE, amount, key=key, fingerprint=fingerprint)


def test_a_key_twice_in_a_batch_is_booked_once() -> None:
    state = till()
    decision = decided(state, Unit([keyed(), keyed(), keyed()]), keyed())
    assert said(decision) == ["created", "replayed", "replayed", "replayed"]
    assert len(decision.transfers) == 1
    assert decision.keys == [(b"k", b"f", 1, None)]
    first, *rest = [r for unit in decision.results for r in unit.results]
    for again in rest:
        assert (again.number, again.booked_at, again.amount) == (1, first.booked_at, 5)
        assert (again.debit_after, again.credit_after) == (-5, 5)
    assert state.accounts[ALICE].credits == 5


def test_a_dry_run_numbers_nothing_that_it_has_not_found_booked() -> None:
    state = till()
    ask(state, keyed(key=b"booked"))
    unit = Unit([keyed(), keyed(), keyed(key=b"booked")], dry_run=True)
    results = decided(state, unit).results[0].results
    assert [(one.status, one.number) for one in results] == [
        ("created", 0), ("replayed", 0), ("replayed", 1),
    ]  # fmt: skip


def test_a_key_used_with_other_fields_is_a_conflict_also_within_a_batch() -> None:
    assert ask(till(), keyed(), keyed(fingerprint=b"g")) == ["created", "idempotency_conflict"]


def test_a_stored_key_answers_as_the_first_time_whatever_the_books_say_now() -> None:
    state = till()
    state.keys[b"k"] = StoredKey(b"f", PostingResult("created", 9, 123, 5, -5, 5))
    state.accounts.clear()  # the accounts may be frozen, closed, or not even asked for
    result = only(decided(state, keyed()))
    assert result == PostingResult("replayed", 9, 123, 5, -5, 5)


def test_a_refused_posting_does_not_burn_its_key() -> None:
    state = till()
    posting = pay(ALICE, BOB, 5, key=b"k", fingerprint=b"f")
    assert ask(state, posting, keyed(key=b"other"), posting, posting) == [
        "insufficient_funds", "created", "created", "replayed",
    ]  # fmt: skip


def test_a_conflict_says_so_even_when_the_posting_would_be_refused_anyway() -> None:
    state = till()
    state.keys[b"k"] = StoredKey(b"g", PostingResult("created", 9, 123, 5, -5, 5))
    posting = Posting(ALICE, ALICE, 5, "EUR", key=b"k", fingerprint=b"f")
    assert ask(state, posting) == ["idempotency_conflict"]


def unit(*postings: Posting, fingerprint: bytes = b"f", atomic: bool = False) -> Unit:
    return Unit(list(postings), atomic, key=b"U", fingerprint=fingerprint, label="batch 7")


def test_a_units_answer_is_kept_and_told_again() -> None:
    state = till()
    asked = unit(pay(SETTLEMENT, ALICE, 5), pay(ALICE, BOB, 99), hold(ALICE, BOB, 2))
    decision = decided(state, asked)
    (first,) = decision.results
    assert (first.label, first.replayed) == ("batch 7", False)
    ((key, fingerprint, number, kept),) = decision.keys
    assert (key, fingerprint, number) == (b"U", b"f", None)
    assert kept is not None
    # The refused member would be accepted now; the answer is still the first one.
    ask(state, pay(SETTLEMENT, ALICE, 1_000))
    again = decided(state, asked)
    assert again.transfers == []
    assert again.results == [UnitResult(first.results, "batch 7", replayed=True)]
    assert said(again) == ["created", "insufficient_funds", "created"]


def test_a_units_key_used_with_other_fields_is_a_conflict_for_every_member() -> None:
    state = till()
    ask(state, unit(pay(SETTLEMENT, ALICE, 5)))
    decision = decided(state, unit(*[pay(SETTLEMENT, ALICE, 6)] * 2, fingerprint=b"g"))
    assert said(decision) == ["idempotency_conflict"] * 2
    assert decision.results[0].conflict


def test_a_conflict_of_a_members_key_is_not_one_of_the_unit() -> None:
    state = till()
    ask(state, keyed())
    for atomic in (True, False):
        decision = decided(state, unit(keyed(fingerprint=b"g"), atomic=atomic))
        assert said(decision) == ["idempotency_conflict"]
        assert not decision.results[0].conflict


def test_a_postings_key_is_no_units_key_and_the_other_way_round() -> None:
    state = till()
    assert ask(state, keyed(key=b"U"), unit(pay(SETTLEMENT, ALICE, 5))) == [
        "created", "idempotency_conflict",
    ]  # fmt: skip
    state = till()
    assert ask(state, unit(pay(SETTLEMENT, ALICE, 5)), keyed(key=b"U")) == [
        "created", "idempotency_conflict",
    ]  # fmt: skip


@pytest.mark.parametrize("atomic", [True, False])
def test_a_wholly_refused_unit_does_not_burn_its_key(atomic: bool) -> None:
    state = till()
    asked = unit(pay(ALICE, BOB, 5), pay(BOB, ALICE, 50), atomic=atomic)
    decision = decided(state, asked)
    assert decision.keys == []
    ask(state, pay(SETTLEMENT, ALICE, 100), pay(SETTLEMENT, BOB, 100))
    assert ask(state, asked) == ["created", "created"]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("other", [[], [pay(SETTLEMENT, BOB, 1)]])
def test_a_unit_of_which_all_was_booked_before_keeps_its_answer(
    other: list[Posting], atomic: bool
) -> None:
    state = till()
    ask(state, keyed())
    decision = decided(state, unit(keyed(), atomic=atomic), *other)
    assert said(decision)[:1] == ["replayed"]
    assert [row[:3] for row in decision.keys] == [(b"U", b"f", None)]
    again = decided(state, unit(keyed(), atomic=atomic))
    assert again.results == [UnitResult(decision.results[0].results, "batch 7", replayed=True)]
    assert said(decided(state, unit(keyed(), fingerprint=b"g"))) == ["idempotency_conflict"]


def test_an_empty_unit_is_answered_with_nothing() -> None:
    for asked in (Unit([]), unit(), Unit([], dry_run=True), Unit([], atomic=True)):
        decision = decided(till(), asked)
        assert decision.results[0].results == []
        assert decision.keys == []


def test_a_unit_and_its_postings_may_have_keys_both() -> None:
    state = till()
    decision = decided(state, unit(keyed(), atomic=True))
    assert {row[0] for row in decision.keys} == {b"k", b"U"}
    assert ask(state, keyed(), unit(keyed(), atomic=True)) == ["replayed", "created"]


@pytest.mark.parametrize("refusal", REFUSAL_ORDER)
def test_every_refusal_survives_being_kept(refusal: type) -> None:
    facts = {"limit": 5, "used": 2}
    outcome = UnitResult(
        [
            PostingResult("created", 1, NOW, 5, -5, 5),
            PostingResult("rejected", refusal=refusal),
            PostingResult("rejected", refusal=refusal, extra=facts),
        ],
        "ünïcode",
    )
    assert answers.decode(answers.encode(outcome)) == UnitResult(
        outcome.results, "ünïcode", replayed=True
    )


def test_a_refused_result_raises_its_refusal_with_its_facts() -> None:
    with pytest.raises(InsufficientFunds) as refused:
        PostingResult("rejected", refusal=InsufficientFunds, extra={"a": 1}).raise_refused()
    assert refused.value.extra == {"a": 1}
    with pytest.raises(IdempotencyConflict):
        PostingResult("rejected", refusal=IdempotencyConflict).raise_refused()
    PostingResult("created", 1).raise_refused()


@pytest.mark.parametrize(
    ("clock_us", "expected"),
    [
        (0, [NOW, NOW + 1, NOW + 2]),
        (NOW - 1, [NOW, NOW + 1, NOW + 2]),
        (NOW, [NOW + 1, NOW + 2, NOW + 3]),  # the clock stands still
        (NOW + 500, [NOW + 501, NOW + 502, NOW + 503]),  # the clock went back
    ],
)
def test_bookings_are_numbered_without_gaps_and_never_go_back_in_time(
    clock_us: int, expected: list[int]
) -> None:
    state = till()
    state.last_no, state.clock_us = 41, clock_us
    decision = decided(state, pay(SETTLEMENT, ALICE, 1), Unit([pay(SETTLEMENT, BOB, 1)] * 2))
    assert [row[0] for row in decision.transfers] == [42, 43, 44]
    assert [row[5] for row in decision.transfers] == expected
    assert (state.last_no, state.clock_us) == (decision.last_no, decision.clock_us) == (
        44, expected[-1],
    )  # fmt: skip


def test_what_a_caller_says_about_a_posting_is_stored_with_it() -> None:
    user = UUID(int=7)
    posting = pay(
        SETTLEMENT, ALICE, 1, value_on=3, created_by=user, description="d", reference="r",
        metadata="{}",
    )  # fmt: skip
    (row,) = decided(till(), posting).transfers
    assert row == (1, 1, SETTLEMENT, ALICE, 1, NOW, "USD", 3, None, None, user, "d", "r", "{}")
    assert type(row[1]) is int
