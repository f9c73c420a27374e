"""The kept answer of a keyed unit: compact JSON that gives the same results again."""

import json

from guilder.domains.ledger.errors import BY_CODE
from guilder.domains.ledger.rules.state import PostingResult, UnitResult


def encode(outcome: UnitResult) -> bytes:
    """The results as bytes for the idempotency row."""
    rows = [
        [r.status, r.number, r.booked_at, r.amount, r.debit_after, r.credit_after]
        if r.refusal is None
        else [r.refusal.code, dict(r.extra or {})]
        for r in outcome.results
    ]
    return json.dumps([outcome.label, rows], separators=(",", ":")).encode()


def decode(answer: bytes) -> UnitResult:
    """The results that ``encode`` was given, marked as replayed."""
    label, rows = json.loads(answer)
    results = [
        PostingResult(row[0], row[1], row[2], row[3], row[4], row[5])
        if len(row) > 2
        else PostingResult("rejected", refusal=BY_CODE[row[0]], extra=row[1] or None)
        for row in rows
    ]
    return UnitResult(results, label, replayed=True)
