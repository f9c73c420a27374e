"""A reversal gives back what was moved: linked, in parts if wanted, and never more."""

import pytest

from guilder.domains.ledger.rules.state import AccountFlag, Kind, LedgerState, Original, Unit
from tests.domains.ledger.desk import (
    ALICE,
    BOB,
    about,
    account,
    ask,
    books,
    capture,
    decided,
    hold,
    only,
    pay,
    reverse,
)


def paid(amount: int = 60, left: int = 0) -> LedgerState:
    """Alice has paid Bob; the transfer is number 1."""
    original = Original(1, ALICE, BOB, amount, Kind.TRANSFER)
    return books(account(ALICE, 0), account(BOB, amount + left), originals=(original,), last_no=1)


def test_a_full_reversal_goes_the_other_way_and_names_its_original() -> None:
    state = paid()
    decision = decided(state, reverse(1, value_on=5, description="sent twice"))
    row = decision.transfers[0]
    assert row[:5] == (2, Kind.REVERSAL, BOB, ALICE, 60)
    assert (row[6], row[7], row[8], row[11]) == ("USD", 5, 1, "sent twice")
    assert (only(decision).amount, only(decision).debit_after) == (60, 0)
    assert only(decision).credit_after == 60


@pytest.mark.parametrize("kind", [Kind.TRANSFER, Kind.CAPTURE, Kind.CAPTURE_FINAL])
def test_what_moved_money_can_be_reversed(kind: Kind) -> None:
    state = paid()
    state.originals[1].kind = kind
    assert ask(state, reverse(1)) == ["created"]


@pytest.mark.parametrize("kind", [Kind.HOLD, Kind.RELEASE, Kind.EXPIRY, Kind.REVERSAL])
def test_what_moved_nothing_and_a_reversal_itself_cannot_be_reversed(kind: Kind) -> None:
    state = paid()
    state.originals[1].kind = kind
    assert ask(state, reverse(1)) == ["transfer_not_found"]


def test_a_transfer_that_does_not_exist_cannot_be_reversed() -> None:
    posting = reverse(99)
    assert ask(paid(), posting) == ["transfer_not_found"]
    posting.debit, posting.ref = ALICE, None
    assert ask(paid(), posting) == ["transfer_not_found"]


def test_parts_add_up_to_the_original_and_never_to_more() -> None:
    state = paid(left=1_000)
    assert ask(
        state, reverse(1, 20), reverse(1, 41), reverse(1, 30), reverse(1), reverse(1),
        reverse(1, 1),
    ) == ["created", "exceeds_original", "created", "created", "already_reversed",
          "already_reversed"]  # fmt: skip
    assert state.originals[1].reversed == 60
    assert state.accounts[ALICE].credits == 60


def test_what_was_given_back_before_counts() -> None:
    state = paid(left=1_000)
    state.originals[1].reversed = 55
    assert ask(state, reverse(1, 6), reverse(1, 5), reverse(1)) == [
        "exceeds_original", "created", "already_reversed",
    ]  # fmt: skip


def test_money_that_is_gone_cannot_be_given_back() -> None:
    state = paid()
    state.accounts[BOB].debits = 1
    assert ask(state, reverse(1), reverse(1, 59)) == ["insufficient_funds", "created"]


def test_a_reversal_meets_the_bounds_and_states_of_both_accounts() -> None:
    for number, facts, code in (
        (BOB, {"flags": int(AccountFlag.FROZEN_DEBITS)}, "account_frozen"),
        (BOB, {"flags": int(AccountFlag.FROZEN_CREDITS)}, "created"),
        (ALICE, {"flags": int(AccountFlag.FROZEN_CREDITS)}, "account_frozen"),
        (ALICE, {"flags": int(AccountFlag.CLOSED)}, "account_closed"),
        (ALICE, {"ceiling": 59}, "balance_ceiling"),
    ):
        state = paid()
        for name, value in facts.items():
            setattr(state.accounts[number], name, value)
        assert ask(state, reverse(1)) == [code]


def test_a_capture_made_in_the_same_batch_can_be_reversed_once() -> None:
    state = books(account(ALICE, 100), account(BOB))
    decision = decided(
        state, hold(ALICE, BOB, 60), capture(1, 40), reverse(2), reverse(2), reverse(1)
    )
    codes = [unit.results[0].refusal for unit in decision.results]
    assert [code and code.code for code in codes] == [
        None, None, None, "already_reversed", "transfer_not_found",
    ]  # fmt: skip
    assert decision.transfers[2][2:5] == (BOB, ALICE, 40)
    assert state.accounts[ALICE].debits_pending == 20


def test_a_reversal_in_the_same_batch_cannot_be_reversed() -> None:
    state = books(account(ALICE, 100), account(BOB))
    assert ask(state, pay(ALICE, BOB, 60), reverse(1), reverse(2)) == [
        "created", "created", "transfer_not_found",
    ]  # fmt: skip


def test_a_release_in_the_same_batch_cannot_be_reversed() -> None:
    state = books(account(ALICE, 100), account(BOB))
    assert ask(state, hold(ALICE, BOB, 60), about(Kind.RELEASE, 1), reverse(2)) == [
        "created", "created", "transfer_not_found",
    ]  # fmt: skip


def test_a_reversal_does_not_use_up_a_limit() -> None:
    state = paid()
    state.accounts[BOB].flags = int(AccountFlag.LIMITED)
    assert ask(state, Unit([reverse(1)])) == ["created"]
    assert state.limits == {}
