"""``decide``: the only place with rules about money, the same for both databases and for dry runs.

It works on ints and dicts and answers as if the postings had been executed one by one in order.
Refusals come in the order of ``errors.REFUSAL_ORDER``. A unit that is atomic or a dry run works on
an overlay: every object is remembered before its first change and put back when the unit fails.
"""

from collections.abc import Iterator

from guilder.core.errors import IdempotencyConflict
from guilder.domains.ledger.errors import (
    AccountNotFound,
    AlreadyReversed,
    CurrencyMismatch,
    ExceedsOriginal,
    GroupFailed,
    HoldExceeded,
    HoldExpired,
    HoldNotFound,
    HoldSpent,
    LimitExceeded,
    SameAccount,
    TransferNotFound,
)
from guilder.domains.ledger.rules import answers, windows
from guilder.domains.ledger.rules.checks import Refused, blocked, conditions, funds
from guilder.domains.ledger.rules.overlay import Changing, Overlay
from guilder.domains.ledger.rules.state import (
    AccountFlag,
    Decision,
    Hold,
    HoldState,
    Kind,
    LedgerAccount,
    LedgerState,
    Original,
    Posting,
    PostingResult,
    StoredKey,
    Unit,
    UnitResult,
)

# Plain ints: arithmetic on enum members costs more than all the rest of a decision.
_TRANSFER, _HOLD, _CAPTURE, _FINAL, _RELEASE, _EXPIRY, _REVERSAL = map(int, Kind)
_LIMITED = int(AccountFlag.LIMITED)
_OPEN, _CAPTURED, _RELEASED, _EXPIRED = map(int, HoldState)


def decide(state: LedgerState, units: list[Unit], now_us: int) -> Decision:
    """Accept or refuse every posting of ``units`` in order.

    ``state`` must hold every account, key, hold, original and limit that the units name and that
    exists; it is changed in place to the state after. Booking times are strictly increasing:
    ``now_us``, or a microsecond after the last one when the clock has not moved on.
    """
    return _Decider(state, now_us).run(units)


class _Decider:
    """One run of ``decide``: the state, the rows to write, and the overlay of the current unit."""

    def __init__(self, state: LedgerState, now_us: int) -> None:
        self.state = state
        self.now_us = now_us
        self.out = Decision([], state.last_no, state.clock_us)
        self.overlay: Overlay | None = None
        self.group: int | None = None
        self.refs: set[int] = set()

    def run(self, units: list[Unit]) -> Decision:
        self.refs = {p.ref for unit in units for p in unit.postings if p.ref is not None}
        for unit in units:
            self.out.results.append(self._unit(unit))
        self.state.last_no, self.state.clock_us = self.out.last_no, self.out.clock_us
        return self.out

    # units

    def _unit(self, unit: Unit) -> UnitResult:
        if unit.key is not None and (stored := self.state.keys.get(unit.key)) is not None:
            return self._replayed_unit(unit, stored)
        if unit.atomic or unit.dry_run:
            outcome = self._overlaid(unit)
        else:
            outcome = UnitResult([self._posting(p) for p in unit.postings], unit.label)
        if unit.key is not None and not unit.dry_run and _accepted(outcome):
            answer = answers.encode(outcome)
            self._keep_key(unit.key, StoredKey(unit.fingerprint, answer=answer), None)
        return outcome

    def _replayed_unit(self, unit: Unit, stored: StoredKey) -> UnitResult:
        if stored.answer is None or stored.fingerprint != unit.fingerprint:
            refused = PostingResult("rejected", refusal=IdempotencyConflict)
            return UnitResult([refused for _ in unit.postings], unit.label, conflict=True)
        return answers.decode(stored.answer)

    def _overlaid(self, unit: Unit) -> UnitResult:
        overlay = self.overlay = Overlay(self.state, self.out)
        self.group = self.out.last_no + 1 if unit.atomic and len(unit.postings) > 1 else None
        results: list[PostingResult] = []
        failed, last_no = False, self.out.last_no
        for posting in unit.postings:
            result = self._posting(posting)
            results.append(result)
            if unit.atomic and result.refusal is not None:
                failed = True
                break
        if failed or unit.dry_run:
            overlay.roll_back()
        self.overlay, self.group = None, None
        if failed:
            return UnitResult(_group_failed(results, len(unit.postings)), unit.label)
        if unit.dry_run:
            for result in results:
                if result.number > last_no:  # booked in this unit, or told again what was
                    result.number = 0
        return UnitResult(results, unit.label)

    def _remember(self, thing: Changing) -> None:
        if self.overlay is not None:
            self.overlay.remember(thing)

    # postings

    def _posting(self, p: Posting) -> PostingResult:
        if p.key is not None and (stored := self.state.keys.get(p.key)) is not None:
            return _replayed(p, stored)
        if p.debit == p.credit and p.kind <= _HOLD:
            return PostingResult("rejected", refusal=SameAccount)
        if p.kind <= _HOLD:
            refused = self._plain(p)
        elif p.kind == _REVERSAL:
            refused = self._reversal(p)
        else:
            refused = self._spend(p)
        if isinstance(refused, PostingResult):
            if p.key is not None:
                self._keep_key(p.key, StoredKey(p.fingerprint, refused), refused.number)
            return refused
        if isinstance(refused, tuple):
            return PostingResult("rejected", refusal=refused[0], extra=refused[1])
        return PostingResult("rejected", refusal=refused)

    def _plain(self, p: Posting) -> PostingResult | Refused:
        debit, credit = self.state.accounts.get(p.debit), self.state.accounts.get(p.credit)
        if debit is None or credit is None:
            return AccountNotFound
        if debit.asset != p.asset or credit.asset != p.asset:
            return CurrencyMismatch
        refused = blocked(debit, credit) or self._funds(debit, credit, p.amount)
        if refused is None and debit.flags & _LIMITED:
            refused = self._limits(debit, p.amount)
        if refused is None and p.conditions is not None:
            refused = conditions(p, debit, p.amount if p.kind == _TRANSFER else 0)
        if refused is not None:
            return refused
        if p.kind == _HOLD:
            return self._set_aside(p, debit, credit)
        if debit.flags & _LIMITED:
            self._use_limits(debit, p.amount)
        return self._book(p, debit, credit, p.amount, p.amount)

    def _reversal(self, p: Posting) -> PostingResult | Refused:
        original = self.state.originals.get(p.ref or 0)
        if original is None or original.kind in (_HOLD, _RELEASE, _EXPIRY, _REVERSAL):
            return TransferNotFound
        debit, credit = self.state.accounts[original.credit], self.state.accounts[original.debit]
        if (refused := blocked(debit, credit)) is not None:
            return refused
        left = original.amount - original.reversed
        if left == 0:
            return AlreadyReversed
        amount = p.amount or left
        if amount > left:
            return ExceedsOriginal
        refused = self._funds(debit, credit, amount)
        if refused is None and p.conditions is not None:
            refused = conditions(p, debit, amount)
        if refused is not None:
            return refused
        self._remember(original)
        original.reversed += amount
        return self._book(p, debit, credit, amount, amount)

    def _spend(self, p: Posting) -> PostingResult | Refused:
        """Capture, release or expiry of a hold; a hold is spent once, by whoever comes first."""
        hold = self.state.holds.get(p.ref or 0)
        if hold is None:
            return HoldNotFound
        debit, credit = self.state.accounts[hold.debit], self.state.accounts[hold.credit]
        capture = p.kind in (_CAPTURE, _FINAL)
        if capture and (refused := blocked(debit, credit)) is not None:
            return refused
        if (refused := self._hold_refusal(p, hold, capture)) is not None:
            return refused
        amount = (p.amount or hold.remaining) if capture else hold.remaining
        if p.conditions is not None:
            refused = conditions(p, debit, amount if capture else 0)
            if refused is not None:
                return refused
        return self._spend_hold(p, hold, debit, credit, amount)

    def _hold_refusal(self, p: Posting, hold: Hold, capture: bool) -> Refused | None:
        if hold.state != _OPEN:
            return HoldSpent
        due = hold.expires_at is not None and hold.expires_at <= self._clock()
        if capture and due:
            return HoldExpired
        if p.kind == _EXPIRY and not due:
            return HoldNotFound
        if capture and p.amount > hold.remaining:
            return HoldExceeded, {"remaining": hold.remaining}
        return None

    def _spend_hold(
        self, p: Posting, hold: Hold, debit: LedgerAccount, credit: LedgerAccount, amount: int
    ) -> PostingResult:
        for thing in (hold, debit, credit):
            self._remember(thing)
        partial = p.kind == _CAPTURE and amount < hold.remaining
        freed = amount if partial else hold.remaining
        debit.debits_pending -= freed
        credit.credits_pending -= freed
        hold.remaining -= freed
        kind = p.kind
        if not partial:
            hold.state = {_RELEASE: _RELEASED, _EXPIRY: _EXPIRED}.get(kind, _CAPTURED)
            kind = _FINAL if kind == _CAPTURE else kind
        self.out.changed_holds[hold.id] = hold
        moved = amount if kind in (_CAPTURE, _FINAL) else 0
        return self._book(p, debit, credit, amount, moved, kind)

    # checks that need the run's clock or overlay

    def _clock(self) -> int:
        return max(self.out.clock_us + 1, self.now_us)

    def _funds(self, debit: LedgerAccount, credit: LedgerAccount, amount: int) -> Refused | None:
        if not self.state.lapsing:
            return funds(debit, credit, amount)
        at_us = self._clock()
        out = sum(h.remaining for h in self._lapsed(debit, at_us) if h.debit == debit.id)
        into = sum(h.remaining for h in self._lapsed(credit, at_us) if h.credit == credit.id)
        return funds(debit, credit, amount, (out, into))

    def _lapsed(self, account: LedgerAccount, at_us: int) -> Iterator[Hold]:
        """Holds of an account that stand as open, though their time is over."""
        for hold in self.state.lapsing.get(account.id, ()):
            if hold.state == _OPEN and hold.expires_at is not None and hold.expires_at <= at_us:
                yield hold

    def _limits(self, debit: LedgerAccount, amount: int) -> Refused | None:
        at_us = self._clock()
        for limit in self.state.limits.get(debit.id, ()):
            if (facts := windows.exceeded(limit, amount, at_us)) is not None:
                return LimitExceeded, facts
        return None

    def _use_limits(self, debit: LedgerAccount, amount: int) -> None:
        at_us = self._clock()
        for limit in self.state.limits.get(debit.id, ()):
            self._remember(limit)
            windows.use(limit, amount, at_us)
            self.out.changed_limits[limit.account_id, limit.period] = limit

    # changes

    def _set_aside(self, p: Posting, debit: LedgerAccount, credit: LedgerAccount) -> PostingResult:
        if debit.flags & _LIMITED:
            self._use_limits(debit, p.amount)
        self._remember(debit)
        self._remember(credit)
        debit.debits_pending += p.amount
        credit.credits_pending += p.amount
        result = self._book(p, debit, credit, p.amount, 0)
        hold = Hold(result.number, debit.id, credit.id, p.asset, p.amount, expires_at=p.expires_at)
        self.out.new_holds.append(hold)
        self.state.holds[hold.id] = hold
        if hold.expires_at is not None:
            self.state.watch(hold)
        return result

    def _book(
        self,
        p: Posting,
        debit: LedgerAccount,
        credit: LedgerAccount,
        amount: int,
        moved: int,
        kind: int | None = None,
    ) -> PostingResult:
        """Number the transfer, move ``moved`` between the posted counters, and lay out its rows."""
        out = self.out
        if self.overlay is not None:
            self.overlay.remember(debit)
            self.overlay.remember(credit)
        at_us = out.clock_us + 1
        if at_us < self.now_us:
            at_us = self.now_us
        number = out.last_no + 1
        out.clock_us, out.last_no = at_us, number
        debit.debits += moved
        credit.credits += moved
        debit.version += 1
        credit.version += 1
        debit_after = debit.credits - debit.debits
        credit_after = credit.credits - credit.debits
        kind = int(kind or p.kind)
        out.transfers.append((
            number, kind, debit.id, credit.id, amount, at_us, debit.asset, p.value_on, p.ref,
            self.group, p.created_by, p.description, p.reference, p.metadata,
        ))  # fmt: skip
        out.entries.append((debit.id, number, -moved, debit_after, debit.version, p.value_on))
        out.entries.append((credit.id, number, moved, credit_after, credit.version, p.value_on))
        out.changed_accounts[debit.id] = debit
        out.changed_accounts[credit.id] = credit
        if number in self.refs and moved:
            self.state.originals[number] = Original(number, debit.id, credit.id, amount, kind)
        return PostingResult("created", number, at_us, amount, debit_after, credit_after)

    def _keep_key(self, key: bytes, stored: StoredKey, number: int | None) -> None:
        self.state.keys[key] = stored
        self.out.keys.append((key, stored.fingerprint, number, stored.answer))


def _replayed(p: Posting, stored: StoredKey) -> PostingResult:
    first = stored.result
    if first is None or stored.fingerprint != p.fingerprint:
        return PostingResult("rejected", refusal=IdempotencyConflict)
    return PostingResult(
        "replayed", first.number, first.booked_at, first.amount, first.debit_after,
        first.credit_after,
    )  # fmt: skip


def _accepted(outcome: UnitResult) -> bool:
    """Whether something of the unit is booked, now or before; a refusal does not burn its key."""
    return any(result.refusal is None for result in outcome.results)


def _group_failed(results: list[PostingResult], count: int) -> list[PostingResult]:
    """The first refusal keeps its own code; every other member says that the group failed."""
    failed = PostingResult("rejected", refusal=GroupFailed)
    culprit = len(results) - 1
    return [results[culprit] if i == culprit else failed for i in range(count)]
