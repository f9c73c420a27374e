"""What both stores share: the statements that read, and what their rows become."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from guilder.domains.ledger.ports import Batch
from guilder.domains.ledger.rules.state import Decision, Hold, Limit, Original, Result, StoredKey

LOCK_SQL: Final = (
    "SELECT last_no, last_batch, clock_us, clock_offset_us, chain FROM ledger_head WHERE lane = 0"
)
KEYS_SQL: Final = """
SELECT k.key, k.fingerprint, k.answer, t.id, t.booked_at, t.amount,
       d.balance_after AS debit_after, c.balance_after AS credit_after
  FROM ledger_idempotency k
  LEFT JOIN ledger_transfers t ON t.id = k.transfer_id
  LEFT JOIN ledger_entries d ON d.account_id = t.debit_account AND d.transfer_id = t.id
  LEFT JOIN ledger_entries c ON c.account_id = t.credit_account AND c.transfer_id = t.id
 WHERE k.key """
REFS_SQL: Final = """
SELECT t.id, t.debit_account, t.credit_account, t.asset, t.amount, t.kind,
       h.remaining, h.state, h.expires_at,
       CAST((SELECT coalesce(sum(r.amount), 0) FROM ledger_transfers r
              WHERE r.ref_id = t.id AND r.kind = 7) AS bigint) AS reversed
  FROM ledger_transfers t LEFT JOIN ledger_holds h ON h.id = t.id
 WHERE t.id """
ACCOUNTS_SQL: Final = """
SELECT account_id, asset, normal, debits, credits, debits_pending, credits_pending, version, flags,
       floor, ceiling
  FROM ledger_balances WHERE account_id """
LIMITS_SQL: Final = """
SELECT account_id, period, max_amount, max_count, window_start, used_amount, used_count
  FROM ledger_limits WHERE account_id """


def stored_keys(rows: Iterable[Sequence[Any]]) -> dict[bytes, StoredKey]:
    """Keys from the rows of ``KEYS_SQL``."""
    found: dict[bytes, StoredKey] = {}
    for key, fingerprint, answer, no, booked_at, amount, debit_after, credit_after in rows:
        first = None
        if no is not None:
            first = Result("created", no, booked_at, amount, debit_after, credit_after)
        found[key] = StoredKey(fingerprint, first, answer)
    return found


def referenced(
    rows: Iterable[Sequence[Any]],
) -> tuple[dict[int, Hold], dict[int, Original]]:
    """Holds and originals from the rows of ``REFS_SQL``."""
    holds: dict[int, Hold] = {}
    originals: dict[int, Original] = {}
    for no, debit, credit, asset, amount, kind, remaining, state, expires_at, gone in rows:
        originals[no] = Original(no, debit, credit, asset, amount, kind, gone)
        if state is not None:
            holds[no] = Hold(no, debit, credit, asset, remaining, state, expires_at)
    return holds, originals


def limits_by_account(rows: Iterable[Sequence[Any]]) -> dict[int, list[Limit]]:
    """Limits from the rows of ``LIMITS_SQL``, in the fixed order of their periods."""
    found: dict[int, list[Limit]] = {}
    for row in sorted(rows, key=lambda row: (row[0], row[1])):
        found.setdefault(row[0], []).append(Limit(*row))
    return found


def hold_rows(decision: Decision) -> list[tuple[int, int, int, int | None]]:
    """New and changed holds, each once, as it stands after the batch."""
    holds = {hold.id: hold for hold in decision.new_holds} | decision.changed_holds
    return [(h.id, h.remaining, int(h.state), h.expires_at) for h in holds.values()]


def event_payload(batch: Batch) -> str:
    """The outbox row of a batch; readers expand it to one event a transfer."""
    return f'{{"batch":{batch.id},"first":{batch.first_no},"last":{batch.last_no}}}'
