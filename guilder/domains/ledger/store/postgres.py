"""The ledger on PostgreSQL: asyncpg itself, set-based, about ten statements a batch of any size.

READ COMMITTED is what makes the head's lock work: the statement after the one that waited for the
lock sees everything that was committed before. ``COPY`` carries large batches, ``unnest`` small.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import asyncpg

from guilder.core.clock import Clock
from guilder.core.errors import OutcomeUnknown, Unavailable
from guilder.db.engine import CONNECT_TIMEOUT_SECONDS, postgres_dsn, step_down_sql
from guilder.domains.ledger.engine import Posted, post_batch
from guilder.domains.ledger.ports import Batch, Head, Lost, no_more
from guilder.domains.ledger.rules.state import (
    Account,
    Decision,
    Hold,
    Limit,
    Original,
    StoredKey,
    Unit,
    UnitResult,
)
from guilder.domains.ledger.store.base import (
    ACCOUNTS_SQL,
    KEYS_SQL,
    LIMITS_SQL,
    LOCK_SQL,
    REFS_SQL,
    event_payload,
    hold_rows,
    limits_by_account,
    referenced,
    stored_keys,
)

COPY_FROM: Final = 30
"""Rows from which COPY is faster than an insert from unnest; measured, see the performance page."""

PINNED: Final = {
    "application_name": "guilder-poster",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "5000",
}
"""Plans are pinned: every hot statement is an index lookup whatever the statistics say."""

_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_AGAIN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    Lost,
)

_LOCK = LOCK_SQL + " FOR UPDATE"
_KEYS = KEYS_SQL + "= ANY($1::bytea[])"
_REFS = REFS_SQL + "= ANY($1::bigint[])"
_ACCOUNTS = ACCOUNTS_SQL + "= ANY($1::bigint[])"
_LIMITS = LIMITS_SQL + "= ANY($1::bigint[])"
_BALANCES = """
UPDATE ledger_balances b
   SET debits = u.debits, credits = u.credits, debits_pending = u.debits_pending,
       credits_pending = u.credits_pending, version = u.version
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
              $7::bigint[])
       AS u(id, debits, credits, debits_pending, credits_pending, version, loaded)
 WHERE b.account_id = u.id AND b.version = u.loaded"""
_HOLDS = """
INSERT INTO ledger_holds (id, remaining, state, expires_at)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[])
    ON CONFLICT (id) DO UPDATE SET remaining = excluded.remaining, state = excluded.state"""
_USED = """
UPDATE ledger_limits l
   SET window_start = u.window_start, used_amount = u.used_amount, used_count = u.used_count
  FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[], $5::bigint[])
       AS u(account_id, period, window_start, used_amount, used_count)
 WHERE l.account_id = u.account_id AND l.period = u.period"""
_BATCH_AND_EVENT: Final = """batch AS (
  INSERT INTO ledger_batches (id, first_no, last_no, first_booked_at, last_booked_at, nonce, chain)
  VALUES ($1, $2, $3, $4, $5, $6, $7)
), event AS (
  INSERT INTO outbox (stream, type, payload, created_at)
  VALUES ('ledger', 'ledger.batch_posted', $8, $5)
)"""
_HEAD = """
UPDATE ledger_head SET last_no = $3, last_batch = $1, clock_us = $5, chain = $7 WHERE lane = 0"""
_FINISH = f"WITH {_BATCH_AND_EVENT} {_HEAD}"

_TABLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "ledger_transfers": (
        ("id", "bigint"), ("kind", "smallint"), ("debit_account", "bigint"),
        ("credit_account", "bigint"), ("amount", "bigint"), ("booked_at", "bigint"),
        ("asset", "text"), ("value_on", "int"), ("ref_id", "bigint"), ("group_id", "bigint"),
        ("created_by", "uuid"), ("description", "text"), ("reference", "text"),
        ("metadata", "text"),
    ),
    "ledger_entries": (
        ("account_id", "bigint"), ("transfer_id", "bigint"), ("delta", "bigint"),
        ("balance_after", "bigint"), ("version", "bigint"), ("value_on", "int"),
    ),
    "ledger_idempotency": (
        ("key", "bytea"), ("fingerprint", "bytea"), ("transfer_id", "bigint"), ("answer", "bytea"),
    ),
}  # fmt: skip
_COLUMNS: Final = {table: [name for name, _ in cols] for table, cols in _TABLES.items()}


def _insert_sql(table: str) -> str:
    """An insert from one array a column."""
    columns = _TABLES[table]
    arrays = ", ".join(f"${i}::{type_}[]" for i, (_, type_) in enumerate(columns, 1))
    names = ", ".join(name for name, _ in columns)
    return f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608 - constants


_INSERTS: Final = {table: _insert_sql(table) for table in _TABLES}


def _shifted(sql: str, by: int) -> str:
    """A statement with its parameters renumbered, to stand beside others in one."""
    return re.sub(r"\$(\d+)", lambda found: f"${int(found[1]) + by}", sql)


def _at_once_sql() -> str:
    """All that a small batch writes, as one statement; it tells how many balances it changed."""
    parts, used = [], 0
    for table, columns in _TABLES.items():
        parts.append(f"{table} AS ({_shifted(_INSERTS[table], used)})")
        used += len(columns)
    parts.append(f"balances AS ({_shifted(_BALANCES, used)} RETURNING 1)")
    parts.append(_shifted(_BATCH_AND_EVENT, used + 7))
    parts.append(f"head AS ({_shifted(_HEAD, used + 7)})")
    return f"WITH {', '.join(parts)} SELECT count(*) FROM balances"  # noqa: S608 - constants


_AT_ONCE: Final = _at_once_sql()
_BALANCES_AND_MORE: Final = (
    f"WITH holds AS ({_HOLDS}), used AS ({_shifted(_USED, 4)}) {_shifted(_BALANCES, 9)}"
)


class PostgresBooks:
    """``Books`` over an asyncpg connection with an open transaction."""

    def __init__(self, connection: Any) -> None:
        self._c = connection

    async def lock(self) -> Head:
        row = await self._c.fetchrow(_LOCK)
        return Head(*row)

    async def keys(self, keys: Collection[bytes]) -> dict[bytes, StoredKey]:
        return stored_keys(await self._c.fetch(_KEYS, list(keys)))

    async def refs(self, numbers: Collection[int]) -> tuple[dict[int, Hold], dict[int, Original]]:
        return referenced(await self._c.fetch(_REFS, list(numbers)))

    async def accounts(self, ids: Collection[int]) -> dict[int, Account]:
        rows = await self._c.fetch(_ACCOUNTS, list(ids))
        return {row[0]: Account(*row) for row in rows}

    async def limits(self, ids: Collection[int]) -> dict[int, list[Limit]]:
        return limits_by_account(await self._c.fetch(_LIMITS, list(ids)))

    async def write(self, decision: Decision, batch: Batch) -> None:
        holds = hold_rows(decision)
        plain = not (holds or decision.changed_limits)
        if plain and len(decision.transfers) < COPY_FROM:
            await self._write_at_once(decision, batch)
            return
        for table, rows in zip(_TABLES, _new_rows(decision), strict=True):
            await self._rows(table, rows)
        balances = _balance_columns(decision)
        if plain:
            status = await self._c.execute(_BALANCES, *balances)
        else:
            used = [
                (u.account_id, u.period, u.window_start, u.used_amount, u.used_count)
                for u in decision.changed_limits.values()
            ]
            status = await self._c.execute(
                _BALANCES_AND_MORE, *_arrays(holds, 4), *_arrays(used, 5), *balances
            )
        _expect_balances(decision, int(status.rpartition(" ")[2]))
        await self._c.execute(_FINISH, *_batch_values(batch))

    async def _write_at_once(self, decision: Decision, batch: Batch) -> None:
        values: list[Any] = []
        for columns, rows in zip(_COLUMNS.values(), _new_rows(decision), strict=True):
            values += _arrays(rows, len(columns))
        changed = await self._c.fetchval(
            _AT_ONCE, *values, *_balance_columns(decision), *_batch_values(batch)
        )
        _expect_balances(decision, changed)

    async def _rows(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if len(rows) >= COPY_FROM:
            await self._c.copy_records_to_table(table, records=rows, columns=_COLUMNS[table])
        elif rows:
            await self._c.execute(_INSERTS[table], *_transposed(rows))


def _new_rows(decision: Decision) -> tuple[Sequence[tuple[Any, ...]], ...]:
    """Rows for the tables of ``_TABLES``, in that order."""
    return decision.transfers, decision.entries, decision.keys


def _balance_columns(decision: Decision) -> list[list[Any]]:
    return _transposed([
        (a.id, a.debits, a.credits, a.debits_pending, a.credits_pending, a.version,
         a.loaded_version)
        for a in decision.changed_accounts.values()
    ])  # fmt: skip


def _expect_balances(decision: Decision, changed: int) -> None:
    if changed != len(decision.changed_accounts):
        raise Lost("a balance was not at the version that was read")


def _batch_values(b: Batch) -> tuple[Any, ...]:
    return (
        b.id, b.first_no, b.last_no, b.first_booked_at, b.last_booked_at, b.nonce, b.chain,
        event_payload(b),
    )  # fmt: skip


def _arrays(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """One array a column, also when there are no rows."""
    return _transposed(rows) if rows else [[]] * width


def _transposed(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


class PostgresStore:
    """Commits batches on a connection of its own with pinned plans."""

    def __init__(self, url: str, clock: Clock, *, resolve_seconds: float = 5.0) -> None:
        self._dsn = postgres_dsn(url)
        self._clock = clock
        self._resolve_seconds = resolve_seconds
        self._connection: Any = None

    async def commit(
        self, units: list[Unit], more: Callable[[], None] = no_more
    ) -> list[UnitResult]:
        """One transaction for ``units``; see ``Store``."""
        connection = await self._connected()
        try:
            await connection.execute("BEGIN")
            posted = await post_batch(PostgresBooks(connection), units, self._clock, more)
        except _GONE as error:
            await self.close()
            raise Lost("the connection was lost before the commit") from error
        except BaseException as error:
            await self._rolled_back(connection)
            if isinstance(error, _AGAIN):
                raise Lost(str(error)) from error
            raise
        try:
            await connection.execute("COMMIT")
        except (asyncpg.PostgresError, *_GONE) as error:
            await self.close()
            await self._resolve(posted, error)
        return posted.results

    async def close(self) -> None:
        """Drop the connection; the next batch opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            try:
                self._connection = await asyncpg.connect(
                    self._dsn,
                    timeout=CONNECT_TIMEOUT_SECONDS,
                    command_timeout=30,
                    server_settings=PINNED,
                )
                await self._connection.execute(step_down_sql())
            except (asyncpg.PostgresError, *_GONE) as error:
                await self.close()
                raise Unavailable() from error
        return self._connection

    async def _rolled_back(self, connection: Any) -> None:
        """Roll back; a connection on which that failed may still have the transaction open."""
        try:
            await connection.execute("ROLLBACK")
        except BaseException as error:
            await self.close()
            if not isinstance(error, (asyncpg.PostgresError, *_GONE)):
                raise

    async def _resolve(self, posted: Posted, cause: Exception) -> None:
        """Learn whether a commit took whose reply was lost: under the head's lock, by our nonce."""
        if posted.batch is None:
            return
        found: bytes | None = None
        known = False
        try:
            async with asyncio.timeout(self._resolve_seconds):
                while not known:
                    try:
                        found = await self._batch_nonce(posted.batch.id)
                        known = True
                    except (Unavailable, asyncpg.PostgresError, *_GONE):
                        await self.close()
                        await asyncio.sleep(0.1)
        except TimeoutError:
            raise OutcomeUnknown() from cause
        if found != posted.batch.nonce:
            raise Lost("the commit did not take") from cause

    async def _batch_nonce(self, batch_id: int) -> bytes | None:
        connection = await self._connected()
        async with connection.transaction():
            await connection.fetchrow(_LOCK)
            nonce: bytes | None = await connection.fetchval(
                "SELECT nonce FROM ledger_batches WHERE id = $1", batch_id
            )
        return nonce
