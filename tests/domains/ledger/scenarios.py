"""Random scenarios: postings of every kind, retries, groups, dry runs, bounds, freezes, time."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from guilder.domains.ledger.rules.state import Conditions, Kind, Posting, Unit
from tests.domains.ledger.model import Acct, Limited, Model

START = 1_793_000_000_000_000  # 2026-10-26, so that days, weeks and months turn within a scenario
ACCOUNTS = (1, 2, 3, 4, 5)  # 1 settles USD, 2 to 4 are customers in USD, 5 a customer in EUR
STRANGER = 99


@dataclass(frozen=True)
class Advance:
    """The clock moves on."""

    microseconds: int


@dataclass(frozen=True)
class Flags:
    """A freeze, a thaw, or a closure, whatever the balance."""

    account: int
    flags: int


@dataclass(frozen=True)
class Bounds:
    account: int
    floor: int | None
    ceiling: int | None


@dataclass(frozen=True)
class SetLimit:
    account: int
    period: str
    max_amount: int | None
    max_count: int | None


type Step = Unit | Advance | Flags | Bounds | SetLimit

amounts = st.sampled_from([*range(1, 40), *range(1, 40), 100, 2**53 - 1, 2**62])
pairs = st.sampled_from([
    *[(a, b) for a in (2, 3, 4) for b in (2, 3, 4) if a != b] * 4,
    *[(1, n) for n in (2, 3, 4)] * 3, *[(n, 1) for n in (2, 3, 4)] * 2,
    (2, 2), (2, 5), (5, 3), (STRANGER, 2), (3, STRANGER),
])  # fmt: skip
customers = st.sampled_from((2, 3, 4))
optional_small = st.one_of(st.none(), st.integers(0, 80))
keys = st.sampled_from([None, None, None, *[bytes([n]) * 16 for n in range(3)]])


@st.composite
def conditions(draw: Any) -> Conditions | None:
    if draw(st.sampled_from([True] * 11 + [False])):
        return None
    return Conditions(
        draw(st.one_of(st.none(), st.integers(0, 4))), draw(optional_small), draw(optional_small)
    )


@st.composite
def plain(draw: Any) -> Posting:
    kind = draw(st.sampled_from([Kind.TRANSFER] * 3 + [Kind.HOLD] * 2))
    debit, credit = draw(pairs)
    expiry = st.sampled_from([None, None, START + 3_600_000_000, START + 4 * 86_400_000_000])
    return keyed(
        draw,
        Posting(
            debit, credit, draw(amounts),
            draw(st.sampled_from(["USD"] * 12 + ["EUR"])), kind,
            value_on=draw(st.sampled_from([None, None, None, 20_700, 20_760])),
            expires_at=draw(expiry) if kind == Kind.HOLD else None,
            conditions=draw(conditions()),
        ),
    )  # fmt: skip


@st.composite
def referring(draw: Any, holds: list[int], moved: list[int]) -> Posting:
    """Spend a hold or reverse a transfer, mostly one that is there."""
    spend = [Kind.CAPTURE, Kind.CAPTURE, Kind.CAPTURE_FINAL, Kind.RELEASE, Kind.EXPIRY]
    kind = draw(st.sampled_from([*spend, Kind.REVERSAL, Kind.REVERSAL]))
    there = moved if kind == Kind.REVERSAL else holds
    ref = draw(st.sampled_from([*there, *there, *there, 1, 2, 50]))
    amount = draw(st.sampled_from([0, 0, *range(1, 30)]))
    wanted = draw(conditions())
    return keyed(draw, Posting(0, 0, amount, "USD", kind, ref=ref, conditions=wanted))


def keyed(draw: Any, posting: Posting) -> Posting:
    """With a key now and then, from so few that another request under the same key is likely."""
    key = draw(keys)
    if key is None:
        return posting
    return replace(posting, key=key, fingerprint=fingerprint(posting))


def fingerprint(thing: object) -> bytes:
    """Of all that is asked for: the same request again has the same one."""
    return hashlib.blake2b(repr(thing).encode(), digest_size=16).digest()


deposits = st.builds(
    lambda to, amount: Unit([Posting(1, to, amount, "USD")]), customers, st.integers(20, 200)
)


@st.composite
def units(draw: Any, holds: list[int], moved: list[int]) -> Unit:
    several = draw(st.sampled_from([1] * 6 + [2, 4]))
    posting = st.one_of(plain(), plain(), referring(holds, moved))
    chosen = draw(st.lists(posting, min_size=several, max_size=several))
    unit_key = draw(st.sampled_from([None] * 8 + [b"\xf0" * 16, b"\xf1" * 16]))
    dry = draw(st.integers(0, 9)) == 0
    unit = Unit(chosen, atomic=several > 1 and draw(st.booleans()), dry_run=dry)
    if dry or unit_key is None:
        return unit
    return replace(unit, key=unit_key, fingerprint=fingerprint(unit))


settings = st.one_of(
    st.builds(Advance, st.sampled_from([1, 3_600_000_000, 86_400_000_000, 6 * 86_400_000_000])),
    st.builds(Flags, st.sampled_from(ACCOUNTS), st.sampled_from([0, 0, 1, 2, 3, 4])),
    st.builds(
        Bounds, customers, st.sampled_from([None, 0, -50, 20]), st.sampled_from([None, 100, 300])
    ),
    st.builds(
        SetLimit, customers, st.sampled_from(["transaction", "day", "week", "month"]),
        st.sampled_from([None, 40, 100]), st.sampled_from([None, 2, 5]),
    ),
)  # fmt: skip


@st.composite
def scenarios(draw: Any) -> list[Step]:
    """Some money first, then anything; the model runs along, so that references mostly exist."""
    model = new_model()
    steps: list[Step] = list(draw(st.lists(deposits, min_size=2, max_size=4)))
    for unit in list(steps):
        model.take(unit)
    for _ in range(draw(st.integers(3, 22))):
        books = model.books
        moved = [t[0] for t in books.transfers if t[1] in (1, 3, 4)]
        anything = [units(list(books.holds), moved)] * 7
        again = st.sampled_from(steps)
        steps.append(draw(st.one_of(*anything, again, settings)))
        model.take(steps[-1])
    return steps


def new_model() -> "ScenarioModel":
    """The reference model with the accounts that every scenario starts with."""
    accounts = {n: Acct("USD", 1) for n in (2, 3, 4)}
    model = ScenarioModel({1: Acct("USD", -1, floor=None), **accounts, 5: Acct("EUR", 1)})
    model.now = START
    return model


class ScenarioModel(Model):
    """The reference model taking steps."""

    def take(self, step: Step) -> list[Any] | None:
        """Execute a step; a unit's outcomes, None for the others."""
        if isinstance(step, Unit):
            return self.unit(fresh(step))
        if isinstance(step, Advance):
            self.now += step.microseconds
            return None
        account = self.books.accounts[step.account]
        if isinstance(step, Flags):
            account.flags = step.flags
        elif isinstance(step, Bounds):
            account.floor, account.ceiling = step.floor, step.ceiling
        elif step.max_amount is None and step.max_count is None:
            account.limits.pop(step.period, None)
        else:
            kept = account.limits.setdefault(step.period, Limited(None, None))
            kept.max_amount, kept.max_count = step.max_amount, step.max_count
        return None


def fresh(unit: Unit) -> Unit:
    """The same unit again, for the next ledger that executes it."""
    return replace(unit, postings=[replace(posting) for posting in unit.postings])
