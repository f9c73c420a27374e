"""What a store does for a batch, step by step, inside one open transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from guilder.domains.ledger.rules.state import (
    Account,
    Decision,
    Hold,
    Limit,
    Original,
    Result,
    StoredKey,
    Unit,
    UnitResult,
)


@dataclass(frozen=True, slots=True)
class Head:
    """The head row as locked: the last number and batch, the bank's clock, and the chain."""

    last_no: int
    last_batch: int
    clock_us: int
    offset_us: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What the end of a batch writes: the batch row, its outbox row, and the new head."""

    id: int
    first_no: int
    last_no: int
    first_booked_at: int
    last_booked_at: int
    nonce: bytes
    chain: bytes


class Lost(Exception):
    """The transaction did not commit and its work can be run again from the start."""


class Books(Protocol):
    """One transaction on the ledger's tables. ``lock`` comes first; what does not exist is absent.

    ``update`` raises ``Lost`` when a balance was not at the version that was read.
    """

    async def lock(self) -> Head: ...

    async def keys(self, keys: Collection[bytes]) -> dict[bytes, StoredKey]: ...

    async def refs(
        self, numbers: Collection[int]
    ) -> tuple[dict[int, Hold], dict[int, Original]]: ...

    async def accounts(self, ids: Collection[int]) -> dict[int, Account]: ...

    async def limits(self, ids: Collection[int]) -> dict[int, list[Limit]]: ...

    async def insert(self, decision: Decision) -> None: ...

    async def update(self, decision: Decision) -> None: ...

    async def finish(self, batch: Batch) -> None: ...


class Store(Protocol):
    """Commits batches for the poster, one at a time, each in a transaction of its own.

    ``commit`` raises ``Lost`` when the work can be run again, ``OutcomeUnknown`` when it could not
    be learned whether the commit took, ``Unavailable`` when there is no database.
    """

    async def commit(self, units: list[Unit]) -> list[UnitResult]: ...

    async def close(self) -> None: ...


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
