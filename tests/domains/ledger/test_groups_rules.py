"""Atomic groups and dry runs: all, or nothing at all, and nothing of it can be told afterwards."""

from copy import deepcopy
from typing import Any

import pytest

from guilder.domains.ledger.rules.state import (
    AccountFlag,
    Decision,
    Hold,
    Kind,
    LedgerState,
    Limit,
    Original,
    Posting,
    Unit,
)
from tests.domains.ledger.desk import (
    ALICE,
    BOB,
    CAROL,
    SETTLEMENT,
    about,
    account,
    ask,
    books,
    capture,
    decided,
    hold,
    pay,
    reverse,
    said,
    settlement,
)


def world() -> LedgerState:
    """Books in which everything can happen: an open hold 1, a transfer 2, a limit, ten booked."""
    return books(
        settlement(1_000),
        account(ALICE, 500, debits_pending=100, flags=int(AccountFlag.LIMITED), version=5),
        account(BOB, 200, credits_pending=100, version=3),
        account(CAROL, 0),
        holds=(Hold(1, ALICE, BOB, "USD", 100),),
        originals=(Original(2, ALICE, BOB, 50, Kind.TRANSFER),),
        limits=(Limit(ALICE, "day", 1_000, 100), Limit(ALICE, "month", 5_000, None)),
        last_no=10,
    )  # fmt: skip


def everything(first: int = 11) -> list[Posting]:
    """A posting of every kind; the later ones refer to what the earlier ones made."""
    return [
        pay(SETTLEMENT, CAROL, 70, key=b"a", fingerprint=b"fa"),
        pay(ALICE, BOB, 30, key=b"b", fingerprint=b"fb", value_on=3),
        hold(ALICE, CAROL, 40, key=b"c", expires_at=2**60),
        capture(1, 60),
        capture(first + 2, 15),
        about(Kind.RELEASE, first + 2),
        reverse(2, 20),
        reverse(first + 1, 10),
        reverse(first + 4),
        hold(BOB, CAROL, 5),
        pay(SETTLEMENT, CAROL, 70, key=b"a", fingerprint=b"fa"),
    ]


REFUSED = pay(CAROL, BOB, 10**9)


def rows(decision: Decision) -> list[Any]:
    """Everything that would be written."""
    return [
        decision.transfers, decision.entries, decision.keys, decision.new_holds,
        decision.changed_holds, decision.changed_limits, decision.changed_accounts,
        decision.last_no, decision.clock_us,
    ]  # fmt: skip


def test_a_group_is_posted_whole_under_the_number_of_its_first_transfer() -> None:
    state = world()
    decision = decided(state, pay(SETTLEMENT, BOB, 1), Unit(everything(12), atomic=True))
    assert said(decision) == ["created"] * 11 + ["replayed"]
    assert [row[0] for row in decision.transfers] == list(range(11, 22))
    assert [row[9] for row in decision.transfers] == [None] + [12] * 10


def test_two_postings_are_a_group() -> None:
    postings = [pay(SETTLEMENT, BOB, 1), pay(SETTLEMENT, BOB, 2)]
    decision = decided(world(), Unit(postings, atomic=True))
    assert [row[9] for row in decision.transfers] == [11, 11]


def test_a_unit_that_is_no_group_has_no_group_number() -> None:
    for unit in (Unit([pay(SETTLEMENT, BOB, 1)], atomic=True), Unit(everything())):
        assert {row[9] for row in decided(world(), unit).transfers} == {None}


@pytest.mark.parametrize("place", range(12))
def test_a_refused_group_leaves_no_trace_wherever_it_is_refused(place: int) -> None:
    state, before = world(), world()
    postings = everything()
    postings.insert(place, REFUSED)
    # References shift with what stands before them; what is refused then is told all the same.
    decision = decided(state, Unit(postings, atomic=True))
    outcomes = said(decision)
    culprit = next(i for i, word in enumerate(outcomes) if word != "group_failed")
    assert outcomes.count("group_failed") == len(outcomes) - 1
    assert outcomes[culprit] == "insufficient_funds"
    assert culprit == place
    assert state == before
    assert rows(decision) == [[], [], [], [], {}, {}, {}, 10, 0]


@pytest.mark.parametrize(
    "posting",
    [
        pay(ALICE, BOB, 5), hold(ALICE, BOB, 5), capture(1), capture(1, 5),
        about(Kind.RELEASE, 1), reverse(2), reverse(2, 5),
    ],
)  # fmt: skip
def test_a_single_posting_is_taken_back_though_nothing_else_touched_its_accounts(
    posting: Posting,
) -> None:
    for unit in (Unit([posting, REFUSED], atomic=True), Unit([posting], dry_run=True)):
        state = world()
        assert ask(state, unit) in (["group_failed", "insufficient_funds"], ["created"])
        assert state == world()


@pytest.mark.parametrize("atomic", [True, False])
def test_a_dry_run_says_what_would_be_and_leaves_no_trace(atomic: bool) -> None:
    state, before = world(), world()
    decision = decided(state, Unit(everything(), atomic=atomic, dry_run=True))
    real = decided(world(), Unit(everything(), atomic=atomic))
    assert said(decision) == said(real)
    assert state == before
    assert rows(decision) == [[], [], [], [], {}, {}, {}, 10, 0]
    for tried, done in zip(decision.results[0].results, real.results[0].results, strict=True):
        assert (tried.amount, tried.debit_after, tried.credit_after) == (
            done.amount, done.debit_after, done.credit_after,
        )  # fmt: skip
        assert tried.status == "replayed" or tried.number == 0


def test_a_dry_run_tells_refusals_too() -> None:
    state = world()
    assert ask(state, Unit([pay(CAROL, BOB, 1), pay(SETTLEMENT, CAROL, 1)], dry_run=True)) == [
        "insufficient_funds", "created",
    ]  # fmt: skip
    assert state == world()


@pytest.mark.parametrize(
    "dropped",
    [
        Unit([*everything(15), REFUSED], atomic=True),
        Unit([REFUSED, *everything(15)], atomic=True),
        Unit(everything(15), dry_run=True),
        Unit([*everything(15), REFUSED], atomic=True, key=b"unit", fingerprint=b"x"),
        Unit([*everything(15), REFUSED], atomic=True, dry_run=True),
        Unit(everything(15), dry_run=True, key=b"unit", fingerprint=b"x"),
        Unit([], dry_run=True),
        Unit([], atomic=True),
    ],
    ids=["last", "first", "dry", "keyed", "dry-group", "dry-keyed", "empty-dry", "empty-group"],
)
def test_what_was_dropped_changes_nothing_for_the_rest_of_the_batch(dropped: Unit) -> None:
    before = [
        pay(SETTLEMENT, BOB, 1, key=b"z", fingerprint=b"fz"), pay(ALICE, CAROL, 2),
        capture(1, 10), hold(BOB, CAROL, 3),
    ]  # fmt: skip
    # 11 to 14 are booked by then; the same keys are still free, the same hold still open.
    after = [
        pay(SETTLEMENT, BOB, 1, key=b"z", fingerprint=b"fz"), pay(ALICE, BOB, 4, key=b"b"),
        capture(1, 20), capture(14), reverse(2, 50), reverse(11), pay(CAROL, BOB, 2),
    ]  # fmt: skip
    with_it, without = world(), world()
    decision = decided(with_it, *before, deepcopy(dropped), *after)
    expected = decided(without, *before, *after)
    del decision.results[len(before)]
    assert decision.results == expected.results
    assert rows(decision) == rows(expected)
    # An original that only the dropped unit asked for may be known, and is harmless.
    for number in with_it.originals.keys() - without.originals.keys():
        assert number > 10
        del with_it.originals[number]
    assert with_it == without


def test_an_accepted_group_is_the_same_as_its_postings_one_by_one() -> None:
    grouped, single = world(), world()
    one = decided(grouped, Unit(everything(), atomic=True))
    other = decided(single, *everything())
    assert said(one) == said(other)
    assert [row[:9] + row[10:] for row in one.transfers] == [
        row[:9] + row[10:] for row in other.transfers
    ]
    assert (one.entries, one.keys) == (other.entries, other.keys)
    assert grouped == single


def test_a_group_fails_as_a_whole_when_one_of_its_keys_was_used_for_something_else() -> None:
    state = world()
    ask(state, pay(SETTLEMENT, BOB, 1, key=b"k", fingerprint=b"one"))
    postings = [pay(SETTLEMENT, BOB, 2), pay(SETTLEMENT, BOB, 3, key=b"k", fingerprint=b"two")]
    assert ask(state, Unit(postings, atomic=True)) == ["group_failed", "idempotency_conflict"]


def test_the_refusal_of_a_group_keeps_its_facts() -> None:
    state = world()
    state.limits[ALICE][0].max_amount = 5
    decision = decided(state, Unit([pay(SETTLEMENT, BOB, 1), pay(ALICE, BOB, 6)], atomic=True))
    assert decision.results[0].results[0].extra is None
    assert decision.results[0].results[1].extra == {
        "period": "day", "measure": "amount", "limit": 5, "used": 0, "remaining": 5,
    }  # fmt: skip
