"""Short words for building the state that ``decide`` looks at, and for asking it."""

from typing import Any

from guilder.domains.ledger.rules.decide import decide
from guilder.domains.ledger.rules.state import (
    Decision,
    Hold,
    Kind,
    LedgerAccount,
    LedgerState,
    Limit,
    Original,
    Posting,
    PostingResult,
    StoredKey,
    Unit,
    UnitResult,
)

NOW = 1_790_000_000_000_000
"""Monday, 21 September 2026, 14:13:20 UTC."""

SETTLEMENT, ALICE, BOB, CAROL = 1, 2, 3, 4


def account(number: int, posted: int = 0, **more: Any) -> LedgerAccount:
    """A customer's account with a natural balance; ``normal=-1`` makes it one of the bank's."""
    normal = more.get("normal", 1)
    side = "credits" if (posted >= 0) == (normal > 0) else "debits"
    facts: dict[str, Any] = dict.fromkeys(
        ("debits", "credits", "debits_pending", "credits_pending", "version"), 0
    )
    facts |= {"asset": "USD", "normal": 1, side: abs(posted)} | more
    return LedgerAccount(number, **facts)


def settlement(posted: int = 0, **more: Any) -> LedgerAccount:
    """The bank's own debit-normal account, unbounded."""
    return account(SETTLEMENT, posted, **({"normal": -1, "floor": None} | more))


def books(
    *accounts: LedgerAccount,
    holds: tuple[Hold, ...] = (),
    originals: tuple[Original, ...] = (),
    limits: tuple[Limit, ...] = (),
    keys: dict[bytes, StoredKey] | None = None,
    last_no: int = 0,
    clock_us: int = 0,
) -> LedgerState:
    """The state under the lock."""
    by_account: dict[int, list[Limit]] = {}
    for limit in limits:
        by_account.setdefault(limit.account_id, []).append(limit)
    return LedgerState(
        last_no, clock_us, {a.id: a for a in accounts}, dict(keys or {}),
        {h.id: h for h in holds}, {o.id: o for o in originals}, by_account,
    )  # fmt: skip


def pay(debit: int, credit: int, amount: int, **more: Any) -> Posting:
    """A transfer in dollars unless told otherwise."""
    return Posting(debit, credit, amount, **({"asset": "USD"} | more))


def hold(debit: int, credit: int, amount: int, **more: Any) -> Posting:
    """Money set aside."""
    return pay(debit, credit, amount, kind=Kind.HOLD, **more)


def about(kind: Kind, ref: int, amount: int = 0, **more: Any) -> Posting:
    """A capture, release, expiry or reversal: accounts and asset come from what it refers to."""
    return Posting(0, 0, amount, "USD", kind=kind, ref=ref, **more)


def capture(ref: int, amount: int = 0, **more: Any) -> Posting:
    return about(Kind.CAPTURE, ref, amount, **more)


def reverse(ref: int, amount: int = 0, **more: Any) -> Posting:
    return about(Kind.REVERSAL, ref, amount, **more)


def decided(state: LedgerState, *asked: Posting | Unit, now_us: int = NOW) -> Decision:
    """What becomes of units; a bare posting is a unit of its own."""
    units = [one if isinstance(one, Unit) else Unit([one]) for one in asked]
    return decide(state, units, now_us)


def said(outcome: UnitResult | Decision) -> list[str]:
    """``created`` and ``replayed``, or the code of the refusal, of every posting in order."""
    if isinstance(outcome, Decision):
        return [word for unit in outcome.results for word in said(unit)]
    assert all((r.status == "rejected") is (r.refusal is not None) for r in outcome.results)
    return [r.status if r.refusal is None else r.refusal.code for r in outcome.results]


def ask(state: LedgerState, *asked: Posting | Unit, now_us: int = NOW) -> list[str]:
    """``decided`` and ``said`` in one."""
    return said(decided(state, *asked, now_us=now_us))


def only(decision: Decision) -> PostingResult:
    """The one result."""
    ((result,),) = [unit.results for unit in decision.results]
    return result
