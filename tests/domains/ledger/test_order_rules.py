"""Refusals come in a fixed, documented order: of two broken rules the earlier one is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest

from guilder.core.errors import IdempotencyConflict, Refusal
from guilder.core.money import MAX_BOOK
from guilder.domains.ledger.errors import (
    BY_CODE,
    REFUSAL_ORDER,
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AlreadyReversed,
    AmountOverflow,
    BalanceCeiling,
    BalanceCondition,
    CurrencyMismatch,
    ExceedsOriginal,
    GroupFailed,
    HoldExceeded,
    HoldExpired,
    HoldNotFound,
    HoldSpent,
    InsufficientFunds,
    LimitExceeded,
    SameAccount,
    TransferNotFound,
    VersionMismatch,
)
from guilder.domains.ledger.rules.state import (
    AccountFlag,
    Conditions,
    Hold,
    HoldState,
    Kind,
    Limit,
    Original,
    Posting,
    PostingResult,
    StoredKey,
    Unit,
)
from tests.domains.ledger.desk import ALICE, BOB, NOW, account, ask, books

FOUND = PostingResult("created", 1, NOW, 50, -50, 50)


@dataclass
class Case:
    """A posting of 50 that is accepted, until rules are broken. Money leaves ``payer``."""

    kind: Kind
    payer: dict[str, Any] = field(default_factory=lambda: {"credits": 1_000, "floor": None})
    payee: dict[str, Any] = field(default_factory=lambda: {"credits": 1_000, "floor": None})
    posting: dict[str, Any] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    hold: Hold = field(default_factory=lambda: Hold(7, ALICE, BOB, "USD", 100))
    original: Original = field(default_factory=lambda: Original(7, BOB, ALICE, 100, Kind.TRANSFER))
    limits: tuple[Limit, ...] = ()
    keys: dict[bytes, StoredKey] = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    unreferenced: bool = False

    def outcome(self) -> list[str]:
        """What ``decide`` says."""
        referring = self.kind not in (Kind.TRANSFER, Kind.HOLD)
        facts: dict[str, Any] = {
            "debit": ALICE, "credit": BOB, "amount": 50, "asset": "USD", "kind": self.kind,
            "ref": 7 if referring else None, "conditions": self.conditions,
        }  # fmt: skip
        accounts = [
            account(number, **bounds)
            for number, bounds in ((ALICE, self.payer), (BOB, self.payee))
            if number not in self.missing
        ]
        state = books(
            *accounts, limits=self.limits, keys=self.keys, holds=(self.hold,),
            originals=(self.original,), last_no=7,
        )  # fmt: skip
        if self.unreferenced:
            state.holds, state.originals = {}, {}
        return ask(state, Posting(**(facts | self.posting)))


def flag(side: dict[str, Any], bit: AccountFlag) -> None:
    side["flags"] = side.get("flags", 0) | bit


def taken_key(case: Case) -> None:
    case.posting |= {"key": b"k", "fingerprint": b"mine"}
    case.keys[b"k"] = StoredKey(b"another", FOUND)


def daily_limit_of_nothing(case: Case) -> None:
    flag(case.payer, AccountFlag.LIMITED)
    case.limits = (Limit(ALICE, "day", 0, None),)


BREAKS: dict[type[Refusal], Callable[[Case], object]] = {
    IdempotencyConflict: taken_key,
    SameAccount: lambda case: case.posting.update(debit=ALICE, credit=ALICE),
    AccountNotFound: lambda case: setattr(case, "missing", (BOB,)),
    CurrencyMismatch: lambda case: case.posting.update(asset="EUR"),
    AccountClosed: lambda case: flag(case.payee, AccountFlag.CLOSED),
    AccountFrozen: lambda case: flag(case.payer, AccountFlag.FROZEN_DEBITS),
    HoldSpent: lambda case: setattr(case.hold, "state", HoldState.CAPTURED),
    HoldExpired: lambda case: setattr(case.hold, "expires_at", NOW - 1),
    HoldExceeded: lambda case: setattr(case.hold, "remaining", 49),
    AlreadyReversed: lambda case: setattr(case.original, "reversed", 100),
    ExceedsOriginal: lambda case: case.posting.update(amount=101),
    AmountOverflow: lambda case: case.payee.update(credits=MAX_BOOK),
    InsufficientFunds: lambda case: case.payer.update(floor=10**9),
    BalanceCeiling: lambda case: case.payee.update(ceiling=0),
    LimitExceeded: daily_limit_of_nothing,
    VersionMismatch: lambda case: setattr(case.conditions, "version", 99),
    BalanceCondition: lambda case: setattr(case.conditions, "min_balance", 10**12),
}
STATES = (AccountClosed, AccountFrozen)
BOUNDS = (AmountOverflow, InsufficientFunds, BalanceCeiling)
CONDITIONS = (VersionMismatch, BalanceCondition)
ABLE: dict[Kind, tuple[type[Refusal], ...]] = {
    Kind.TRANSFER: (
        IdempotencyConflict, SameAccount, AccountNotFound, CurrencyMismatch, *STATES, *BOUNDS,
        LimitExceeded, *CONDITIONS,
    ),
    Kind.CAPTURE: (
        IdempotencyConflict, *STATES, HoldSpent, HoldExpired, HoldExceeded, *CONDITIONS,
    ),
    Kind.RELEASE: (IdempotencyConflict, HoldSpent, *CONDITIONS),
    Kind.REVERSAL: (
        IdempotencyConflict, *STATES, AlreadyReversed, ExceedsOriginal, *BOUNDS, *CONDITIONS,
    ),
}  # fmt: skip
ABLE[Kind.HOLD] = ABLE[Kind.TRANSFER]
ABLE[Kind.CAPTURE_FINAL] = ABLE[Kind.CAPTURE]
PAIRS = [(kind, *pair) for kind, able in ABLE.items() for pair in combinations(able, 2)]
"""Every two rules that one posting can break at once, not the adjacent ones alone."""


def name(value: object) -> str:
    return value.code if isinstance(value, type) and issubclass(value, Refusal) else str(value)


@pytest.mark.parametrize("kind", ABLE, ids=lambda kind: kind.name)
def test_the_posting_is_accepted_while_no_rule_is_broken(kind: Kind) -> None:
    assert Case(kind).outcome() == ["created"]


@pytest.mark.parametrize(
    ("kind", "rule"), [(kind, rule) for kind, able in ABLE.items() for rule in able], ids=name
)
def test_a_broken_rule_is_told(kind: Kind, rule: type[Refusal]) -> None:
    case = Case(kind)
    BREAKS[rule](case)
    assert case.outcome() == [rule.code]


@pytest.mark.parametrize(("kind", "earlier", "later"), PAIRS, ids=name)
def test_of_two_broken_rules_the_earlier_is_told(
    kind: Kind, earlier: type[Refusal], later: type[Refusal]
) -> None:
    case = Case(kind)
    BREAKS[later](case)
    BREAKS[earlier](case)
    assert case.outcome() == [earlier.code]
    assert REFUSAL_ORDER.index(earlier) < REFUSAL_ORDER.index(later)


@pytest.mark.parametrize("kind", ABLE, ids=lambda kind: kind.name)
def test_of_all_broken_rules_the_first_is_told(kind: Kind) -> None:
    for skipped in range(len(ABLE[kind])):
        case = Case(kind)
        for rule in ABLE[kind][skipped:]:
            BREAKS[rule](case)
        assert case.outcome() == [ABLE[kind][skipped].code]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.CAPTURE, "hold_not_found"),
        (Kind.CAPTURE_FINAL, "hold_not_found"),
        (Kind.RELEASE, "hold_not_found"),
        (Kind.EXPIRY, "hold_not_found"),
        (Kind.REVERSAL, "transfer_not_found"),
    ],
)
def test_a_reference_to_nothing_is_told_before_anything_about_it(kind: Kind, code: str) -> None:
    case = Case(kind, unreferenced=True)
    for rule in (AccountClosed, HoldSpent, AlreadyReversed, VersionMismatch):
        BREAKS[rule](case)
    assert case.outcome() == [code]
    taken_key(case)
    assert case.outcome() == ["idempotency_conflict"]


def test_a_group_tells_its_first_refusal_and_group_failed_for_the_others() -> None:
    state = books(account(ALICE, 100), account(BOB), limits=(Limit(ALICE, "day", 0, None),))
    state.accounts[ALICE].flags = AccountFlag.LIMITED
    postings = [
        Posting(BOB, ALICE, 0, "USD", kind=Kind.CAPTURE, ref=9),
        Posting(ALICE, ALICE, 1, "USD"),
        Posting(ALICE, BOB, 1, "USD"),
    ]
    assert ask(state, Unit(postings, atomic=True)) == [
        "hold_not_found", "group_failed", "group_failed",
    ]  # fmt: skip
    assert ask(state, Unit(postings)) == ["hold_not_found", "same_account", "limit_exceeded"]


def test_every_refusal_of_the_order_is_reached_by_one_of_these_tests() -> None:
    reached = {rule for able in ABLE.values() for rule in able}
    assert reached | {HoldNotFound, TransferNotFound, GroupFailed} == set(REFUSAL_ORDER)
    assert {rule.code: rule for rule in REFUSAL_ORDER} == BY_CODE
    assert len(BY_CODE) == len(REFUSAL_ORDER)
