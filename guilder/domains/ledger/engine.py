"""One batch from lock to head: load what ``decide`` may look at, decide, prove, write.

The caller owns the transaction. On SQLite the store's methods never suspend, so ``run_sync`` runs
the same code to its end inside the thread that owns the connection.
"""

import hashlib
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from guilder.core.clock import Clock, offset_now
from guilder.domains.ledger.ports import Batch, Books, Head, no_more
from guilder.domains.ledger.rules.decide import decide
from guilder.domains.ledger.rules.rows import EntryRow, KeyRow, NewKey, NewTransfer, TransferRow
from guilder.domains.ledger.rules.state import AccountFlag, Decision, LedgerState, Unit, UnitResult


class InvariantViolated(RuntimeError):
    """A proof before the write failed: a defect of this program. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What a batch answered and the row that proves it, None when nothing was booked.

    ``unproven``: something was written all the same, which no row proves: answers were kept, of
    units whose postings had all been booked before, or an instant was closed.
    """

    results: list[UnitResult]
    batch: Batch | None
    unproven: bool = False


_encoder = msgspec.json.Encoder()

_ID: Final = 0
_AMOUNT: Final = 4
_BOOKED_AT: Final = 5
_ASSET: Final = 6
assert TransferRow._fields[_ID] == "id"
assert TransferRow._fields[_AMOUNT:7] == ("amount", "booked_at", "asset")
_ACCOUNT: Final = 0
_TRANSFER: Final = 1
_DELTA: Final = 2
assert EntryRow._fields[:3] == ("account_id", "transfer_id", "delta")
_KEYS_TRANSFER: Final = 2
assert KeyRow._fields[_KEYS_TRANSFER] == "transfer_id"


async def post_batch(
    books: Books, units: list[Unit], clock: Clock, more: Callable[[], None] = no_more
) -> Posted:
    """Post ``units`` through an open transaction; the caller commits or rolls back.

    ``more`` may add to ``units``: it is called once the head is locked, when nothing is decided.
    """
    head = await books.lock()
    more()
    closed_us = max([head.closed_us, *[unit.closes_us for unit in units]])
    now_us = offset_now(clock, head.clock_offset_us)
    state = LedgerState(head.last_no, max(head.clock_us, closed_us))
    await _load(books, state, units, now_us)
    decision = decide(state, units, now_us)
    _prove(head, units, decision)
    if not decision.transfers:  # else what is booked is later, and closes it
        if decision.keys:
            await books.keep(decision.keys)
        closes = closed_us > head.closed_us
        if closes:
            await books.close_until(closed_us)
        return Posted(decision.results, None, unproven=closes or bool(decision.keys))
    batch = Batch(
        id=head.last_batch + 1,
        first_no=head.last_no + 1,
        last_no=decision.last_no,
        first_booked_at=decision.transfers[0][_BOOKED_AT],
        last_booked_at=decision.clock_us,
        nonce=secrets.token_bytes(16),
        chain=batch_chain_hash(head.chain, decision.transfers, _transfers_keys(decision)),
    )
    await books.write(decision, batch)
    return Posted(decision.results, batch)


def batch_chain_hash(
    previous: bytes, rows: list[NewTransfer], keys: list[NewKey] | None = None
) -> bytes:
    """SHA-256 of the chain before and, as compact JSON, the batch's transfers and their keys.

    Both in order. Without ``keys``, not even an empty list, it is the hash of before keys counted.
    """
    content = rows if keys is None else (rows, keys)
    state = hashlib.sha256(previous)
    state.update(_encoder.encode(content))
    return state.digest()


def _transfers_keys(decision: Decision) -> list[NewKey]:
    """The keys that are each of one transfer, in the order of the transfers."""
    return [row for row in decision.keys if row[_KEYS_TRANSFER] is not None]


def run_sync[T](work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("the coroutine suspended")


async def _load(books: Books, state: LedgerState, units: list[Unit], now_us: int) -> None:
    postings = [posting for unit in units for posting in unit.postings]
    keys = {p.key for p in postings if p.key is not None}
    keys.update(unit.key for unit in units if unit.key is not None)
    if keys:
        state.keys = await books.keys(keys)
    wanted = {p.debit for p in postings}
    wanted.update([p.credit for p in postings])
    refs = {p.ref for p in postings if p.ref is not None}
    if refs:
        state.holds, state.originals = await books.refs(refs)
        for original in state.originals.values():
            wanted.update((original.debit, original.credit))
    state.accounts = await books.accounts(wanted)
    limited = [a.id for a in state.accounts.values() if a.flags & AccountFlag.LIMITED]
    if limited:
        state.limits = await books.limits(limited)
    pending = [a.id for a in state.accounts.values() if a.debits_pending or a.credits_pending]
    if pending:  # each transfer is at most a microsecond after the one before, or now
        last_us = max(state.clock_us, now_us) + len(postings)
        for hold in await books.lapsing(pending, last_us):
            state.watch(state.holds.setdefault(hold.id, hold))


def _prove(head: Head, units: list[Unit], decision: Decision) -> None:
    """Assertions that stay on in production, before anything is written."""
    entries, transfers = decision.entries, decision.transfers
    counted = sum(a.version - a.loaded_version for a in decision.changed_accounts.values())
    proofs = (
        ("a result for every posting", _answered(units, decision)),
        ("two entries a transfer", len(entries) == 2 * len(transfers)),
        ("numbers without gaps", decision.last_no - head.last_no == len(transfers)),
        ("versions without gaps", counted == len(entries)),
        ("debits equal credits", _balanced(decision)),
        ("a clock that moves on", not transfers or decision.clock_us > head.clock_us),
    )
    for promise, kept in proofs:
        if not kept:
            raise InvariantViolated(f"proof failed: {promise}")


def _answered(units: list[Unit], decision: Decision) -> bool:
    pairs = zip(units, decision.results, strict=True)
    return all(len(unit.postings) == len(outcome.results) for unit, outcome in pairs)


def _balanced(decision: Decision) -> bool:
    """Per transfer something moves between two accounts of its asset, and the deltas cancel."""
    accounts, entries = decision.changed_accounts, decision.entries
    if len(entries) != 2 * len(decision.transfers):
        return False
    for index, row in enumerate(decision.transfers):
        debit, credit = entries[2 * index], entries[2 * index + 1]
        number, asset = row[_ID], row[_ASSET]
        payer, payee = debit[_ACCOUNT], credit[_ACCOUNT]
        if row[_AMOUNT] <= 0 or payer == payee:
            return False
        if debit[_DELTA] + credit[_DELTA] != 0:
            return False
        if debit[_TRANSFER] != number or credit[_TRANSFER] != number:
            return False
        if accounts[payer].asset != asset or accounts[payee].asset != asset:
            return False
    return True
