"""A second ledger, small and slow: each posting works on a copy of everything and may be dropped.

It shares nothing with ``decide`` but the shapes of postings, and stands for what they mean.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from guilder.domains.ledger.rules.state import Conditions, Kind, Posting, Unit

FROZEN_DEBITS, FROZEN_CREDITS, CLOSED = 1, 2, 4
HUGE = 2**63 - 1


class Refused(Exception):
    """The code of the first rule that is broken."""


@dataclass
class Limited:
    max_amount: int | None
    max_count: int | None
    spent: list[tuple[int, int]] = field(default_factory=list)  # booked_at, amount


@dataclass
class Acct:
    asset: str
    normal: int
    floor: int | None = 0
    ceiling: int | None = None
    flags: int = 0
    debits: int = 0
    credits: int = 0
    held_out: int = 0
    held_in: int = 0
    version: int = 0
    limits: dict[str, "Limited"] = field(default_factory=dict)

    @property
    def net(self) -> int:
        return self.credits - self.debits

    def natural(self) -> int:
        return self.net * self.normal


@dataclass
class Books:
    accounts: dict[int, Acct]
    transfers: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    keys: dict[bytes, tuple[bytes, tuple[Any, ...]]] = field(default_factory=dict)
    holds: dict[int, dict[str, Any]] = field(default_factory=dict)
    clock: int = 0


type Outcome = tuple[Any, ...]
"""(status, number, booked_at, amount, debit_after, credit_after) or ("rejected", code)."""


class Model:
    """Executes units one posting after the other."""

    def __init__(self, accounts: dict[int, Acct], clock: int = 0) -> None:
        self.books = Books(accounts, clock=clock)
        self.now = clock

    def unit(self, unit: Unit) -> list[Outcome]:
        kept = self.books.keys.get(unit.key) if unit.key else None
        if kept is not None:
            if kept[0] != unit.fingerprint or kept[1][0] != "unit":
                return [("rejected", "idempotency_conflict")] * len(unit.postings)
            return list(kept[1][1])
        before = deepcopy(self.books)
        group = len(self.books.transfers) + 1 if unit.atomic and len(unit.postings) > 1 else None
        outcomes: list[Outcome] = []
        for posting in unit.postings:
            outcomes.append(self.posting(posting, group))
            if unit.atomic and outcomes[-1][0] == "rejected":
                self.books = before
                failed = ("rejected", "group_failed")
                culprit = len(outcomes) - 1
                return [outcomes[i] if i == culprit else failed for i in range(len(unit.postings))]
        if unit.dry_run:
            self.books = before
            return [self._dry(outcome) for outcome in outcomes]
        if unit.key and any(o[0] != "rejected" for o in outcomes):
            self.books.keys[unit.key] = (unit.fingerprint, ("unit", outcomes))
        return outcomes

    def _dry(self, outcome: Outcome) -> Outcome:
        if outcome[0] == "created":
            return ("dry", *outcome[3:])
        if outcome[0] == "replayed" and outcome[1] > len(self.books.transfers):
            return ("replayed", 0, *outcome[2:])
        return outcome

    def posting(self, p: Posting, group: int | None) -> Outcome:
        if p.key is not None and p.key in self.books.keys:
            fingerprint, first = self.books.keys[p.key]
            if fingerprint != p.fingerprint or first[0] != "created":
                return ("rejected", "idempotency_conflict")
            return ("replayed", *first[1:])
        before = deepcopy(self.books)
        try:
            outcome = self.apply(p, group)
        except Refused as refused:
            self.books = before
            return ("rejected", str(refused))
        if p.key is not None:
            self.books.keys[p.key] = (p.fingerprint, outcome)
        return outcome

    def apply(self, p: Posting, group: int | None) -> Outcome:
        at = max(self.books.clock + 1, self.now)
        if p.ref is None:
            if p.debit == p.credit:
                raise Refused("same_account")
            return self.plain(p, group, at)
        if p.kind == Kind.REVERSAL:
            return self.reversal(p, group, at)
        return self.spend(p, group, at)

    def plain(self, p: Posting, group: int | None, at: int) -> Outcome:
        a, b = self.books.accounts.get(p.debit), self.books.accounts.get(p.credit)
        if a is None or b is None:
            raise Refused("account_not_found")
        if {a.asset, b.asset} != {p.asset}:
            raise Refused("currency_mismatch")
        unblocked(a, b)
        funded(a, b, p.amount, *self.lapsed(p.debit, p.credit, at))
        within_limits(a, p.amount, at)
        hold = p.kind == Kind.HOLD
        satisfied(p.conditions, a, 0 if hold else p.amount)
        for limit in a.limits.values():
            limit.spent.append((at, p.amount))
        if hold:
            a.held_out += p.amount
            b.held_in += p.amount
        outcome = self.book(p, p.debit, p.credit, p.amount, not hold, group, at)
        if hold:
            self.books.holds[outcome[1]] = {
                "debit": p.debit, "credit": p.credit, "left": p.amount, "state": 0,
                "expires_at": p.expires_at,
            }  # fmt: skip
        return outcome

    def reversal(self, p: Posting, group: int | None, at: int) -> Outcome:
        found = [t for t in self.books.transfers if t[0] == p.ref]
        if not found or found[0][1] not in (Kind.TRANSFER, Kind.CAPTURE, Kind.CAPTURE_FINAL):
            raise Refused("transfer_not_found")
        _, _, debit, credit, amount, *_ = found[0]
        a, b = self.books.accounts[credit], self.books.accounts[debit]
        unblocked(a, b)
        gone = sum(t[4] for t in self.books.transfers if t[8] == p.ref)
        wanted = p.amount or amount - gone
        if gone == amount:
            raise Refused("already_reversed")
        if gone + wanted > amount:
            raise Refused("exceeds_original")
        funded(a, b, wanted, *self.lapsed(credit, debit, at))
        satisfied(p.conditions, a, wanted)
        return self.book(p, credit, debit, wanted, True, group, at)

    def lapsed(self, debit: int, credit: int, at: int) -> tuple[int, int]:
        """Of what is held on either side, how much no longer counts."""
        over = [
            hold for hold in self.books.holds.values()
            if hold["state"] == 0 and hold["expires_at"] is not None and hold["expires_at"] <= at
        ]  # fmt: skip
        out = sum(hold["left"] for hold in over if hold["debit"] == debit)
        return out, sum(hold["left"] for hold in over if hold["credit"] == credit)

    def spend(self, p: Posting, group: int | None, at: int) -> Outcome:
        hold = self.books.holds.get(p.ref or 0)
        if hold is None:
            raise Refused("hold_not_found")
        a, b = self.books.accounts[hold["debit"]], self.books.accounts[hold["credit"]]
        capture = p.kind in (Kind.CAPTURE, Kind.CAPTURE_FINAL)
        if capture:
            unblocked(a, b)
        if hold["state"] != 0:
            raise Refused("hold_spent")
        due = hold["expires_at"] is not None and hold["expires_at"] <= at
        if capture and due:
            raise Refused("hold_expired")
        if p.kind == Kind.EXPIRY and not due:
            raise Refused("hold_not_found")
        if capture and p.amount > hold["left"]:
            raise Refused("hold_exceeded")
        amount = (p.amount or hold["left"]) if capture else hold["left"]
        satisfied(p.conditions, a, amount if capture else 0)
        last = p.kind != Kind.CAPTURE or amount == hold["left"]
        freed = hold["left"] if last else amount
        a.held_out -= freed
        b.held_in -= freed
        hold["left"] -= freed
        kind = Kind.CAPTURE_FINAL if capture and last else Kind(p.kind)
        if last:
            hold["state"] = {Kind.RELEASE: 2, Kind.EXPIRY: 3}.get(kind, 1)
        return self.book(p, hold["debit"], hold["credit"], amount, capture, group, at, kind)

    def book(
        self,
        p: Posting,
        debit: int,
        credit: int,
        amount: int,
        moves: bool,
        group: int | None,
        at: int,
        kind: int | None = None,
    ) -> Outcome:
        a, b = self.books.accounts[debit], self.books.accounts[credit]
        if moves:
            a.debits += amount
            b.credits += amount
        number = len(self.books.transfers) + 1
        self.books.clock = at
        self.books.transfers.append((
            number, int(kind or p.kind), debit, credit, amount, at, a.asset, p.value_on, p.ref,
            group,
        ))  # fmt: skip
        for account, side in ((debit, -1), (credit, 1)):
            acct = self.books.accounts[account]
            acct.version += 1
            delta = side * amount if moves else 0
            self.books.entries.append((account, number, delta, acct.net, acct.version, p.value_on))
        return ("created", number, at, amount, a.net, b.net)


def unblocked(a: Acct, b: Acct) -> None:
    if a.flags & CLOSED or b.flags & CLOSED:
        raise Refused("account_closed")
    if a.flags & FROZEN_DEBITS or b.flags & FROZEN_CREDITS:
        raise Refused("account_frozen")


def funded(a: Acct, b: Acct, amount: int, out: int, into: int) -> None:
    if a.debits + a.held_out + amount > HUGE or b.credits + b.held_in + amount > HUGE:
        raise Refused("amount_overflow")
    leaving, coming = a.held_out - out, b.held_in - into
    paying = (a, a.natural() - leaving) if a.normal > 0 else None
    drained = (b, b.natural() - coming) if b.normal < 0 else None
    for side in (paying, drained):
        if side and side[0].floor is not None and side[1] - amount < side[0].floor:
            raise Refused("insufficient_funds")
    growing = (a, a.natural() + leaving) if a.normal < 0 else None
    filling = (b, b.natural() + coming) if b.normal > 0 else None
    for side in (growing, filling):
        if side and side[0].ceiling is not None and side[1] + amount > side[0].ceiling:
            raise Refused("balance_ceiling")


def within_limits(a: Acct, amount: int, at: int) -> None:
    for period, limit in sorted(a.limits.items()):
        spent = [x for t, x in limit.spent if same_window(period, t, at)]
        if limit.max_amount is not None and sum(spent) + amount > limit.max_amount:
            raise Refused("limit_exceeded")
        if limit.max_count is not None and len(spent) + 1 > limit.max_count:
            raise Refused("limit_exceeded")


def same_window(period: str, a: int, b: int) -> bool:
    first, second = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t) for t in (a, b))
    match period:
        case "day":
            return first.date() == second.date()
        case "week":
            return first.isocalendar()[:2] == second.isocalendar()[:2]
        case "month":
            return (first.year, first.month) == (second.year, second.month)
    return False


def satisfied(wanted: Conditions | None, a: Acct, moved: int) -> None:
    if wanted is None:
        return
    if wanted.version is not None and wanted.version != a.version:
        raise Refused("version_mismatch")
    after = (a.net - moved) * a.normal
    if wanted.min_balance is not None and after < wanted.min_balance:
        raise Refused("balance_condition")
    if wanted.max_balance is not None and after > wanted.max_balance:
        raise Refused("balance_condition")
