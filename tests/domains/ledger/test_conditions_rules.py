"""Conditional posting: the version before, the balance after, on the account that pays."""

from typing import Any

import pytest

from guilder.domains.ledger.rules.state import Conditions, Hold, Kind, Original, Unit
from tests.domains.ledger.desk import (
    ALICE,
    BOB,
    SETTLEMENT,
    account,
    ask,
    books,
    capture,
    hold,
    pay,
    reverse,
    settlement,
)


def wanted(**conditions: Any) -> dict[str, Conditions]:
    return {"conditions": Conditions(**conditions)}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (wanted(), "created"),
        (wanted(version=7), "created"),
        (wanted(version=6), "version_mismatch"),
        (wanted(version=8), "version_mismatch"),
        (wanted(version=0), "version_mismatch"),
        (wanted(min_balance=60), "created"),
        (wanted(min_balance=61), "balance_condition"),
        (wanted(max_balance=60), "created"),
        (wanted(max_balance=59), "balance_condition"),
        (wanted(min_balance=59, max_balance=61), "created"),
        (wanted(min_balance=60, max_balance=60, version=7), "created"),
        (wanted(min_balance=0), "created"),
        (wanted(max_balance=0), "balance_condition"),
    ],
)
def test_a_transfer_counts_only_under_its_conditions(
    conditions: dict[str, Conditions], expected: str
) -> None:
    state = books(account(ALICE, 100, version=7), account(BOB, version=3))
    assert ask(state, pay(ALICE, BOB, 40, **conditions)) == [expected]
    assert state.accounts[ALICE].version == (8 if expected == "created" else 7)


def test_a_balance_is_compared_to_the_unit_beyond_what_a_float_can_tell() -> None:
    most = 2**53
    for conditions, expected in (
        (wanted(min_balance=most + 1), "created"),
        (wanted(min_balance=most + 2), "balance_condition"),
        (wanted(max_balance=most), "balance_condition"),
    ):
        state = books(account(ALICE, most + 2), account(BOB))
        assert ask(state, pay(ALICE, BOB, 1, **conditions)) == [expected]


def test_the_balance_of_a_debit_normal_account_is_its_natural_one() -> None:
    for conditions, expected in (
        (wanted(min_balance=140), "created"),
        (wanted(min_balance=141), "balance_condition"),
        (wanted(max_balance=139), "balance_condition"),
    ):
        state = books(settlement(100), account(ALICE))
        assert ask(state, pay(SETTLEMENT, ALICE, 40, **conditions)) == [expected]


def test_a_hold_leaves_the_posted_balance_as_it_is() -> None:
    for conditions, expected in (
        (wanted(min_balance=100, max_balance=100), "created"),
        (wanted(max_balance=60), "balance_condition"),
    ):
        state = books(account(ALICE, 100), account(BOB))
        assert ask(state, hold(ALICE, BOB, 40, **conditions)) == [expected]


@pytest.mark.parametrize(
    ("kind", "conditions", "expected"),
    [
        (Kind.CAPTURE, wanted(min_balance=70), "created"),
        (Kind.CAPTURE, wanted(min_balance=71), "balance_condition"),
        (Kind.CAPTURE, wanted(version=3), "created"),
        (Kind.CAPTURE, wanted(version=4), "version_mismatch"),
        (Kind.RELEASE, wanted(min_balance=100), "created"),
        (Kind.RELEASE, wanted(max_balance=99), "balance_condition"),
    ],
)
def test_spending_a_hold_counts_only_under_its_conditions(
    kind: Kind, conditions: dict[str, Conditions], expected: str
) -> None:
    state = books(
        account(ALICE, 100, debits_pending=40, version=3), account(BOB, credits_pending=40),
        holds=(Hold(1, ALICE, BOB, "USD", 40),), last_no=1,
    )  # fmt: skip
    posting = capture(1, 30, **conditions)
    posting.kind = kind
    assert ask(state, posting) == [expected]
    assert state.holds[1].remaining == {"created": 10 if kind == Kind.CAPTURE else 0}.get(
        expected, 40
    )


def test_a_reversals_conditions_are_about_the_account_that_gives_back() -> None:
    for conditions, expected in (
        (wanted(min_balance=20), "created"),
        (wanted(min_balance=21), "balance_condition"),
        (wanted(version=1), "version_mismatch"),
    ):
        original = Original(1, ALICE, BOB, 40, Kind.TRANSFER)
        state = books(account(ALICE, version=1), account(BOB, 60), originals=(original,), last_no=1)
        assert ask(state, reverse(1, 0, **conditions)) == [expected]
        assert state.originals[1].reversed == (40 if expected == "created" else 0)


def test_a_version_is_that_of_the_moment_and_not_of_the_batchs_beginning() -> None:
    state = books(account(ALICE, 100), account(BOB))
    postings = [pay(ALICE, BOB, 1, **wanted(version=0)) for _ in range(3)]
    assert ask(state, Unit(postings), pay(ALICE, BOB, 1, **wanted(version=1))) == [
        "created", "version_mismatch", "version_mismatch", "created",
    ]  # fmt: skip
