"""Floors, ceilings, freezes and overflow, on accounts of either normal side, at the very edge."""

from typing import Any

import pytest

from guilder.core.money import MAX_BOOK
from guilder.domains.ledger.rules.state import AccountFlag, LedgerAccount, Posting
from tests.domains.ledger.desk import (
    ALICE,
    BOB,
    SETTLEMENT,
    account,
    ask,
    books,
    decided,
    hold,
    only,
    pay,
    settlement,
)

FREE: dict[str, Any] = {"floor": None, "ceiling": None}


def bank(**more: Any) -> LedgerAccount:
    """A debit-normal account."""
    return account(BOB, **({"normal": -1} | FREE | more))


def customer(**more: Any) -> LedgerAccount:
    """A credit-normal account."""
    return account(ALICE, **(FREE | more))


@pytest.mark.parametrize(
    ("one", "most", "posting"),
    [
        # What leaves a customer, with an overdraft and without, beside what is held already.
        (customer(posted=100, floor=0), 100, pay(ALICE, BOB, 0)),
        (customer(posted=100, floor=30), 70, pay(ALICE, BOB, 0)),
        (customer(posted=100, floor=-50), 150, pay(ALICE, BOB, 0)),
        (customer(posted=-20, floor=-50), 30, pay(ALICE, BOB, 0)),
        (customer(posted=100, floor=0, debits_pending=60), 40, pay(ALICE, BOB, 0)),
        (customer(posted=100, floor=0, debits_pending=60), 40, hold(ALICE, BOB, 0)),
        (customer(posted=100, floor=0, credits_pending=60), 100, pay(ALICE, BOB, 0)),
        # What leaves one of the bank's own is what it is credited with.
        (bank(posted=100, floor=0), 100, pay(ALICE, BOB, 0)),
        (bank(debits=130, credits=30, floor=0), 100, pay(ALICE, BOB, 0)),
        (bank(debits=130, credits=30, floor=0, credits_pending=60), 40, pay(ALICE, BOB, 0)),
        (bank(posted=100, floor=0, debits_pending=60), 100, hold(ALICE, BOB, 0)),
    ],
)
def test_a_floor_lets_out_all_above_it_and_not_one_more(
    one: LedgerAccount, most: int, posting: Posting
) -> None:
    assert_edge(one, most, posting, "insufficient_funds")


@pytest.mark.parametrize(
    ("one", "most", "posting"),
    [
        # What comes to a customer, with what is on its way.
        (customer(posted=100, ceiling=150), 50, pay(BOB, ALICE, 0)),
        (customer(posted=-100, ceiling=150), 250, pay(BOB, ALICE, 0)),
        (customer(posted=100, ceiling=150, credits_pending=20), 30, pay(BOB, ALICE, 0)),
        (customer(posted=100, ceiling=150, credits_pending=20), 30, hold(BOB, ALICE, 0)),
        (customer(posted=100, ceiling=150, debits_pending=90), 50, pay(BOB, ALICE, 0)),
        # What comes to one of the bank's own is what it is debited with.
        (bank(debits=130, credits=30, ceiling=150), 50, pay(BOB, ALICE, 0)),
        (bank(posted=100, ceiling=150, debits_pending=20), 30, pay(BOB, ALICE, 0)),
        (bank(posted=100, ceiling=150, credits_pending=90), 50, hold(BOB, ALICE, 0)),
    ],
)
def test_a_ceiling_takes_in_all_below_it_and_not_one_more(
    one: LedgerAccount, most: int, posting: Posting
) -> None:
    assert_edge(one, most, posting, "balance_ceiling")


def assert_edge(one: LedgerAccount, most: int, posting: Posting, code: str) -> None:
    other = bank() if one.id == ALICE else customer()
    for amount, expected in ((most, "created"), (most + 1, code)):
        state = books(fresh(one), other)
        assert ask(state, Posting(posting.debit, posting.credit, amount, "USD", posting.kind)) == [
            expected
        ]


def fresh(one: LedgerAccount) -> LedgerAccount:
    names = [name for name in LedgerAccount.__slots__ if name not in ("id", "loaded_version")]
    return LedgerAccount(one.id, **{name: getattr(one, name) for name in names})


def test_a_floor_that_was_raised_above_the_balance_stops_only_what_leaves() -> None:
    state = books(account(ALICE, 10, floor=50), account(BOB, 10))
    assert ask(state, pay(ALICE, BOB, 1), pay(BOB, ALICE, 1)) == ["insufficient_funds", "created"]


def test_a_ceiling_that_was_lowered_below_the_balance_stops_only_what_comes() -> None:
    state = books(account(ALICE, 10, ceiling=5), account(BOB, 10))
    assert ask(state, pay(BOB, ALICE, 1), pay(ALICE, BOB, 1)) == ["balance_ceiling", "created"]


def test_money_that_came_in_the_same_batch_can_be_spent_and_only_once() -> None:
    state = books(settlement(), account(ALICE), account(BOB))
    postings = [pay(ALICE, BOB, 5), pay(SETTLEMENT, ALICE, 5), pay(ALICE, BOB, 5)]
    assert ask(state, *postings, pay(ALICE, BOB, 1)) == [
        "insufficient_funds", "created", "created", "insufficient_funds",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "out", "into"),
    [
        (AccountFlag.FROZEN_DEBITS, "account_frozen", "created"),
        (AccountFlag.FROZEN_CREDITS, "created", "account_frozen"),
        (
            AccountFlag.FROZEN_DEBITS | AccountFlag.FROZEN_CREDITS,
            "account_frozen",
            "account_frozen",
        ),
        (AccountFlag.CLOSED, "account_closed", "account_closed"),
        (AccountFlag.CLOSED | AccountFlag.FROZEN_DEBITS, "account_closed", "account_closed"),
        (AccountFlag.LIMITED, "created", "created"),
    ],
)
def test_a_state_bit_stops_its_own_side(flags: AccountFlag, out: str, into: str) -> None:
    for make in (pay, hold):
        state = books(account(ALICE, 100, flags=int(flags)), account(BOB, 100))
        assert ask(state, make(ALICE, BOB, 1), make(BOB, ALICE, 1)) == [out, into]


@pytest.mark.parametrize("missing", [ALICE, BOB])
def test_an_account_that_does_not_exist_is_told_whichever_side_it_is(missing: int) -> None:
    state = books(*[account(n, 100) for n in (ALICE, BOB) if n != missing])
    assert ask(state, pay(ALICE, BOB, 1), hold(ALICE, BOB, 1)) == ["account_not_found"] * 2


@pytest.mark.parametrize(
    ("debit", "credit", "asset"),
    [("USD", "EUR", "USD"), ("EUR", "USD", "USD"), ("USD", "USD", "EUR"), ("EUR", "USD", "GBP")],
)
def test_an_account_never_takes_another_asset(debit: str, credit: str, asset: str) -> None:
    state = books(account(ALICE, 100, asset=debit), account(BOB, asset=credit))
    assert ask(state, pay(ALICE, BOB, 1, asset=asset)) == ["currency_mismatch"]


@pytest.mark.parametrize("make", [pay, hold])
@pytest.mark.parametrize("counter", ["debits", "debits_pending"])
def test_what_leaves_never_passes_the_largest_counter(make: Any, counter: str) -> None:
    for amount, expected in ((1, "created"), (2, "amount_overflow")):
        state = books(account(ALICE, floor=None, **{counter: MAX_BOOK - 1}), account(BOB))
        assert ask(state, make(ALICE, BOB, amount)) == [expected]


@pytest.mark.parametrize("make", [pay, hold])
@pytest.mark.parametrize("counter", ["credits", "credits_pending"])
def test_what_comes_never_passes_the_largest_counter(make: Any, counter: str) -> None:
    for amount, expected in ((1, "created"), (2, "amount_overflow")):
        state = books(settlement(), account(ALICE, **{counter: MAX_BOOK - 1}))
        assert ask(state, make(SETTLEMENT, ALICE, amount)) == [expected]


def test_the_largest_amount_fits_once() -> None:
    state = books(settlement(), account(ALICE))
    decision = decided(state, pay(SETTLEMENT, ALICE, MAX_BOOK))
    assert only(decision).credit_after == MAX_BOOK
    assert only(decision).debit_after == -MAX_BOOK
    assert ask(state, pay(SETTLEMENT, ALICE, 1)) == ["amount_overflow"]


def test_the_balances_after_are_credits_minus_debits_on_either_account() -> None:
    state = books(
        account(ALICE, debits=40, credits=100, floor=None), account(BOB, debits=3, credits=20)
    )
    decision = decided(state, pay(ALICE, BOB, 7))
    assert (only(decision).debit_after, only(decision).credit_after) == (53, 24)
    assert [entry[2:4] for entry in decision.entries] == [(-7, 53), (7, 24)]


def test_a_posting_changes_four_counters_and_nothing_else() -> None:
    state = books(settlement(), account(ALICE, 5))
    decision = decided(state, pay(SETTLEMENT, ALICE, 7, value_on=20_000))
    alice, bank_side = state.accounts[ALICE], state.accounts[SETTLEMENT]
    assert (alice.debits, alice.credits, alice.version) == (0, 12, 1)
    assert (bank_side.debits, bank_side.credits, bank_side.version) == (7, 0, 1)
    assert decision.entries == [
        (SETTLEMENT, 1, -7, -7, 1, 20_000), (ALICE, 1, 7, 12, 1, 20_000),
    ]  # fmt: skip
    assert decision.changed_accounts == {SETTLEMENT: bank_side, ALICE: alice}
    assert (state.last_no, state.clock_us) == (1, decision.clock_us)
