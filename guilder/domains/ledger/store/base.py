"""What both stores share: the statements that read, and what their rows become."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from guilder.core.text import search_text
from guilder.domains.ledger.models import names
from guilder.domains.ledger.ports import Batch, Head
from guilder.domains.ledger.rules.rows import ChangedHold, NewSearch, TransferRow
from guilder.domains.ledger.rules.state import (
    USED,
    Decision,
    Hold,
    LedgerAccount,
    Limit,
    Original,
    PostingResult,
    StoredKey,
)

LOCK_SQL: Final = f"SELECT {', '.join(names(Head))} FROM ledger_head WHERE lane = 0"
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
_ACCOUNT: Final = ["account_id" if name == "id" else name for name in names(LedgerAccount)]
_ACCOUNT.remove("loaded_version")
ACCOUNTS_SQL: Final = f"SELECT {', '.join(_ACCOUNT)} FROM ledger_balances WHERE account_id "
LIMITS_SQL: Final = f"SELECT {', '.join(names(Limit))} FROM ledger_limits WHERE account_id "

EVENT_SQL: Final = """INSERT INTO outbox (stream, type, payload, created_at)
  VALUES ('ledger', 'ledger.batch_posted',"""
LAPSING_SQL: Final = """
SELECT t.id, t.debit_account, t.credit_account, t.asset, h.remaining, h.state, h.expires_at
  FROM ledger_holds h JOIN ledger_transfers t ON t.id = h.id
 WHERE h.state = 0 AND h.expires_at IS NOT NULL AND h.expires_at <= """
CLOSE_SQL: Final = "UPDATE ledger_head SET closed_us = {} WHERE lane = 0"
HEAD_AFTER: Final = {
    "last_no": "last_no",
    "last_batch": "id",
    "clock_us": "last_booked_at",
    "chain": "chain",
}
"""The head's columns that a batch changes, and which of the batch's columns they become."""

_ID: Final = 0
_DESCRIPTION: Final = 11
_REFERENCE: Final = 12
assert TransferRow._fields[_ID] == "id"
assert TransferRow._fields[_DESCRIPTION:13] == ("description", "reference")
LIMIT: Final = ("account_id", "period", *USED)
_used = attrgetter(*LIMIT)
batch_values = attrgetter(*names(Batch))
"""The row of ``ledger_batches``."""


def stored_keys(rows: Iterable[Sequence[Any]]) -> dict[bytes, StoredKey]:
    """Keys from the rows of ``KEYS_SQL``."""
    found: dict[bytes, StoredKey] = {}
    for key, fingerprint, answer, no, booked_at, amount, debit_after, credit_after in rows:
        first = None
        if no is not None:
            first = PostingResult("created", no, booked_at, amount, debit_after, credit_after)
        found[key] = StoredKey(fingerprint, first, answer)
    return found


def referenced(
    rows: Iterable[Sequence[Any]],
) -> tuple[dict[int, Hold], dict[int, Original]]:
    """Holds and originals from the rows of ``REFS_SQL``."""
    holds: dict[int, Hold] = {}
    originals: dict[int, Original] = {}
    for no, debit, credit, asset, amount, kind, remaining, state, expires_at, gone in rows:
        originals[no] = Original(no, debit, credit, amount, kind, gone)
        if state is not None:
            holds[no] = Hold(no, debit, credit, asset, remaining, state, expires_at)
    return holds, originals


def limits_by_account(rows: Iterable[Sequence[Any]]) -> dict[int, list[Limit]]:
    """Limits from the rows of ``LIMITS_SQL``, in the fixed order of their periods."""
    found: dict[int, list[Limit]] = {}
    for row in sorted(rows, key=lambda row: (row[0], row[1])):
        found.setdefault(row[0], []).append(Limit(*row))
    return found


def balance_rows(decision: Decision) -> list[tuple[int, ...]]:
    """Number, ``COUNTERS`` and the version that was read, of every account that changed."""
    return [
        (a.id, a.debits, a.credits, a.debits_pending, a.credits_pending, a.version,
         a.loaded_version)
        for a in decision.changed_accounts.values()
    ]  # fmt: skip


def used_rows(decision: Decision) -> list[tuple[Any, ...]]:
    """``LIMIT``: the key and what is ``USED``, of every limit that changed."""
    return [_used(limit) for limit in decision.changed_limits.values()]


def hold_rows(decision: Decision) -> list[ChangedHold]:
    """New and changed holds, each once, as it stands after the batch."""
    holds = {hold.id: hold for hold in decision.new_holds} | decision.changed_holds
    return [(h.id, h.remaining, int(h.state), h.expires_at) for h in holds.values()]


def search_rows(decision: Decision) -> list[NewSearch]:
    """The words of every new transfer that has any."""
    return [
        (row[_ID], search_text(row[_DESCRIPTION], row[_REFERENCE]))
        for row in decision.transfers
        if row[_DESCRIPTION] or row[_REFERENCE]
    ]


def event_payload(batch: Batch) -> str:
    """The outbox row of a batch; readers expand it to one event a transfer."""
    return f'{{"batch":{batch.id},"first":{batch.first_no},"last":{batch.last_no}}}'
