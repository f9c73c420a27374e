"""The ledger's tables: money in minor units, instants in microseconds, dates in days since 1970.

The hot tables (balances, transfers, entries, idempotency) have no foreign keys: existence is
proven under the head's lock, and ``guilder verify`` checks every reference.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, Identity, Index, Integer, Table, text

from guilder.db.base import (
    APPEND_ONLY,
    STRICT,
    Big,
    Bytes,
    Guid,
    Small,
    String,
    metadata,
    only_changes,
)
from guilder.db.digests import digest_rows, no_digests
from guilder.domains.ledger.ports import Batch
from guilder.domains.ledger.rules.rows import (
    BalanceRow,
    EntryRow,
    HoldRow,
    KeyRow,
    LedgerAccountRow,
    SearchRow,
    TransferRow,
)
from guilder.domains.ledger.rules.state import COUNTERS, USED, Limit


def _n(name: str, type_: Any, **options: Any) -> Column[Any]:
    return Column(name, type_, nullable=False, **options)


def _partial(name: str, where: str, *columns: str) -> Index:
    """An index over the few rows that need it, so that the others cost nothing."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


head = Table(
    "ledger_head",
    metadata,
    _n("lane", Small, primary_key=True, autoincrement=False),
    _n("last_no", Big),
    _n("last_batch", Big),
    _n("clock_us", Big),
    _n("clock_offset_us", Big),
    _n("chain", Bytes),
    _n("id_key", Bytes),
    _n("closed_us", Big, server_default=text("0")),
    **only_changes("last_no", "last_batch", "clock_us", "clock_offset_us", "chain", "closed_us"),
    **STRICT,
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    _n("public_id", Guid, unique=True),
    Column("code", String, unique=True),
    _n("asset", String),
    _n("category", String),
    _n("name", String),
    _n("opened_at", Big),
    **only_changes(),
    **STRICT,
)

balances = Table(
    "ledger_balances",
    metadata,
    _n("account_id", Big, primary_key=True, autoincrement=False),
    _n("debits", Big),
    _n("credits", Big),
    _n("debits_pending", Big),
    _n("credits_pending", Big),
    _n("version", Big),
    Column("floor", Big),
    Column("ceiling", Big),
    _n("flags", Small),
    _n("normal", Small),
    _n("asset", String),
    CheckConstraint(
        "debits >= 0 AND credits >= 0 AND debits_pending >= 0 AND credits_pending >= 0",
        name="counters",
    ),
    **only_changes(*COUNTERS, "floor", "ceiling", "flags"),
    postgresql_with={"fillfactor": 50},
    **STRICT,
)

transfers = Table(
    "ledger_transfers",
    metadata,
    _n("id", Big, primary_key=True, autoincrement=False),
    _n("kind", Small),
    _n("debit_account", Big),
    _n("credit_account", Big),
    _n("amount", Big),
    _n("booked_at", Big),
    _n("asset", String),
    Column("value_on", Integer),
    Column("ref_id", Big),
    Column("group_id", Big),
    Column("created_by", Guid),
    Column("description", String),
    Column("reference", String),
    Column("metadata", String),
    _partial("ix_ledger_transfers_ref_id", "ref_id IS NOT NULL", "ref_id"),
    CheckConstraint("amount > 0 AND debit_account <> credit_account", name="movement"),
    postgresql_partition_by="RANGE (id)",
    **APPEND_ONLY,
    **STRICT,
)

PARTITION_SIZE: Final = 1 << 28
PARTITIONS: Final = 16
"""On PostgreSQL the first 2^32 transfers lie in 16 partitions by number; a default one follows."""

search = Table(
    "ledger_search",
    metadata,
    _n("transfer_id", Big, primary_key=True, autoincrement=False),
    _n("folded", String),
    **APPEND_ONLY,
    **STRICT,
)
"""The words of transfers that have any, as ``guilder.core.text.search_text`` makes them."""

entries = Table(
    "ledger_entries",
    metadata,
    _n("account_id", Big, primary_key=True, autoincrement=False),
    _n("transfer_id", Big, primary_key=True, autoincrement=False),
    _n("delta", Big),
    _n("balance_after", Big),
    _n("version", Big),
    Column("value_on", Integer),
    _partial(
        "ix_ledger_entries_account_id_value_on", "value_on IS NOT NULL", "account_id", "value_on"
    ),
    sqlite_with_rowid=False,
    **APPEND_ONLY,
    **STRICT,
)

idempotency = Table(
    "ledger_idempotency",
    metadata,
    _n("key", Bytes, primary_key=True),
    _n("fingerprint", Bytes),
    Column("transfer_id", Big),
    Column("answer", Bytes),
    sqlite_with_rowid=False,
    **APPEND_ONLY,
    **STRICT,
)

holds = Table(
    "ledger_holds",
    metadata,
    _n("id", Big, primary_key=True, autoincrement=False),
    _n("remaining", Big),
    _n("state", Small),
    Column("expires_at", Big),
    _partial("ix_ledger_holds_expires_at", "state = 0 AND expires_at IS NOT NULL", "expires_at"),
    **only_changes("remaining", "state"),
    **STRICT,
)

limits = Table(
    "ledger_limits",
    metadata,
    _n("account_id", Big, primary_key=True, autoincrement=False),
    _n("period", String, primary_key=True),
    Column("max_amount", Big),
    Column("max_count", Big),
    _n("window_start", Integer),
    _n("used_amount", Big),
    _n("used_count", Big),
    **STRICT,
)

batches = Table(
    "ledger_batches",
    metadata,
    _n("id", Big, primary_key=True, autoincrement=False),
    _n("first_no", Big),
    _n("last_no", Big),
    _n("first_booked_at", Big, index=True),
    _n("last_booked_at", Big),
    _n("nonce", Bytes),
    _n("chain", Bytes),
    **APPEND_ONLY,
    **STRICT,
)

_CHAINED: Final = "the ledger's chain covers them"
_REPLAYED: Final = "they are what the transfers add up to"

digest_rows(ledger_accounts)
digest_rows(balances, but=COUNTERS)
digest_rows(limits, but=USED)
no_digests(head, "it moves with every batch, and is what the chain ends in")
no_digests(transfers, _CHAINED)
no_digests(batches, _CHAINED)
no_digests(idempotency, _CHAINED)
no_digests(entries, _REPLAYED)
no_digests(holds, _REPLAYED)
no_digests(search, "they repeat the words of transfers, for searches")

ROWS: Final[dict[Table, type]] = {
    ledger_accounts: LedgerAccountRow,
    balances: BalanceRow,
    transfers: TransferRow,
    search: SearchRow,
    entries: EntryRow,
    idempotency: KeyRow,
    holds: HoldRow,
    limits: Limit,
    batches: Batch,
}
"""What a row of a table is outside the database: the same columns in the same order."""


def names(row: type) -> tuple[str, ...]:
    """The names of a row's columns, in order."""
    return tuple(row.__annotations__)


def check_rows(rows: Mapping[Table, type]) -> None:
    """Assert that each row has the columns of its table, in their order."""
    for table, row in rows.items():
        assert tuple(table.c.keys()) == names(row), f"{row.__name__} is no row of {table.name}"


check_rows(ROWS)
