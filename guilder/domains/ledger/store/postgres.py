"""The ledger on PostgreSQL: asyncpg itself, set-based, about ten statements a batch of any size.

READ COMMITTED is what makes the head's lock work: the statement after the one that waited for the
lock sees everything that was committed before. ``COPY`` carries large batches, ``unnest`` small.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

import asyncpg
from sqlalchemy import Table

from guilder.core.clock import Clock
from guilder.core.errors import OutcomeUnknown, Unavailable
from guilder.db.arrays import arrays_sql
from guilder.db.postgres import PINNED_PLANS, connect_postgres
from guilder.domains.ledger import models
from guilder.domains.ledger.engine import Posted, post_batch
from guilder.domains.ledger.ports import Batch, Head, NotCommitted, no_more
from guilder.domains.ledger.rules.rows import NewKey
from guilder.domains.ledger.rules.state import (
    COUNTERS,
    USED,
    Decision,
    Hold,
    LedgerAccount,
    Limit,
    Original,
    StoredKey,
    Unit,
    UnitResult,
)
from guilder.domains.ledger.store.base import (
    ACCOUNTS_SQL,
    CLOSE_SQL,
    EVENT_SQL,
    HEAD_AFTER,
    KEYS_SQL,
    LAPSING_SQL,
    LIMIT,
    LIMITS_SQL,
    LOCK_SQL,
    REFS_SQL,
    balance_rows,
    batch_values,
    event_payload,
    hold_rows,
    limits_by_account,
    referenced,
    search_rows,
    stored_keys,
    used_rows,
)

COPY_FROM: Final = 30
"""Rows from which COPY is faster than an insert from unnest; measured, see the performance page."""

PINNED: Final = {
    **PINNED_PLANS,
    "application_name": "guilder-poster",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "5000",
    "lock_timeout": "2000",
}
HELD_SECONDS: Final = 5.0
"""After how long somebody who holds the head and sends nothing is taken for dead."""
TRANSACTION_MS: Final = 15_000

_END_BLOCKERS: Final = """
SELECT a.pid, a.application_name, host(a.client_addr) AS client, pg_terminate_backend(a.pid)
  FROM pg_stat_activity a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
   AND a.wait_event_type = 'Client' AND a.xact_start < clock_timestamp() - $1::interval
   AND EXISTS (
     SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted
        AND l.relation = 'ledger_head'::regclass
        AND l.mode IN ('RowShareLock', 'RowExclusiveLock'))"""
"""Ends those who have locked a row of the head and are waited for: their process is stopped, say,
in the midst of COPY, and no timeout of the server ends that."""

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
    NotCommitted,
)

_log = logging.getLogger(__name__)
_LOCK = LOCK_SQL + " FOR UPDATE"
_KEYS = KEYS_SQL + "= ANY($1::bytea[])"
_REFS = REFS_SQL + "= ANY($1::bigint[])"
_ACCOUNTS = ACCOUNTS_SQL + "= ANY($1::bigint[])"
_OF_ANY = "$1 AND (t.debit_account = ANY($2::bigint[]) OR t.credit_account = ANY($2::bigint[]))"
_LAPSING = LAPSING_SQL + _OF_ANY
_LIMITS = LIMITS_SQL + "= ANY($1::bigint[])"


def _insert_sql(table: Table) -> str:
    """An insert from one array a column."""
    columns = table.c.keys()
    arrays = arrays_sql(table, columns)
    return f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"


def _set(columns: Iterable[str]) -> str:
    return ", ".join(f"{name} = u.{name}" for name in columns)


_BALANCES = f"""
UPDATE ledger_balances b SET {_set(COUNTERS)}
  FROM unnest({arrays_sql(models.balances, ("account_id", *COUNTERS, "version"))})
       AS u(id, {", ".join(COUNTERS)}, loaded)
 WHERE b.account_id = u.id AND b.version = u.loaded"""
_HOLDS = f"""{_insert_sql(models.holds)}
    ON CONFLICT (id) DO UPDATE SET remaining = excluded.remaining, state = excluded.state"""
_USED = f"""
UPDATE ledger_limits l SET {_set(USED)}
  FROM unnest({arrays_sql(models.limits, LIMIT)}) AS u({", ".join(LIMIT)})
 WHERE l.account_id = u.account_id AND l.period = u.period"""

_BATCH: Final = {name: f"${i}" for i, name in enumerate(models.batches.c.keys(), 1)}
_BATCH_AND_EVENT: Final = f"""batch AS (
  INSERT INTO ledger_batches ({", ".join(_BATCH)}) VALUES ({", ".join(_BATCH.values())})
), event AS (
  {EVENT_SQL} ${len(_BATCH) + 1}, {_BATCH["last_booked_at"]})
)"""
_AFTER: Final = ", ".join(f"{name} = {_BATCH[said]}" for name, said in HEAD_AFTER.items())
_HEAD = f"UPDATE ledger_head SET {_AFTER} WHERE lane = 0"
_CLOSE = CLOSE_SQL.format("$1")
_FINISH_PARTS = f"{_BATCH_AND_EVENT}, head AS ({_HEAD})"

_NEW: Final = (models.transfers, models.entries, models.idempotency)
_COLUMNS: Final = {table.name: table.c.keys() for table in _NEW}
_INSERTS: Final = {table.name: _insert_sql(table) for table in _NEW}
_SEARCH: Final = _insert_sql(models.search)
_SEARCH_WIDTH: Final = len(models.search.c)


def _shifted(sql: str, by: int) -> str:
    """A statement with its parameters numbered from ``by`` + 1 on."""
    return re.sub(r"\$(\d+)", lambda found: f"${int(found[1]) + by}", sql)


def _beside(*statements: str) -> list[str]:
    """Statements numbered on from one to the next, to stand in one."""
    placed, used = [], 0
    for sql in statements:
        placed.append(_shifted(sql, used))
        used += max(map(int, re.findall(r"\$(\d+)", sql)))
    return placed


def _at_once_sql() -> str:
    """All that a small batch writes, as one statement; it tells how many balances it changed."""
    *inserts, words, balances, finish = _beside(
        *_INSERTS.values(), _SEARCH, _BALANCES, _FINISH_PARTS
    )
    parts = [f"{table} AS ({sql})" for table, sql in zip(_INSERTS, inserts, strict=True)]
    parts += [f"words AS ({words})", f"balances AS ({balances} RETURNING 1)", finish]
    return f"WITH {', '.join(parts)} SELECT count(*) FROM balances"


def _balances_and_more_sql() -> str:
    """Balances with the holds and limits that changed, and all that ends a batch."""
    holds, used, words, finish, balances = _beside(_HOLDS, _USED, _SEARCH, _FINISH_PARTS, _BALANCES)
    return f"WITH holds AS ({holds}), used AS ({used}), words AS ({words}), {finish} {balances}"


def _finish_sql() -> str:
    """What ends a large batch. The words of its transfers go with it: they are worth no COPY."""
    words, finish = _beside(_SEARCH, f"{_BATCH_AND_EVENT} {_HEAD}")
    return f"WITH words AS ({words}), {finish}"


_AT_ONCE: Final = _at_once_sql()
_FINISH: Final = _finish_sql()
_BALANCES_AND_MORE: Final = _balances_and_more_sql()


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

    async def accounts(self, ids: Collection[int]) -> dict[int, LedgerAccount]:
        rows = await self._c.fetch(_ACCOUNTS, list(ids))
        return {row[0]: LedgerAccount(*row) for row in rows}

    async def lapsing(self, ids: Collection[int], until_us: int) -> list[Hold]:
        return [Hold(*row) for row in await self._c.fetch(_LAPSING, until_us, list(ids))]

    async def limits(self, ids: Collection[int]) -> dict[int, list[Limit]]:
        return limits_by_account(await self._c.fetch(_LIMITS, list(ids)))

    async def write(self, decision: Decision, batch: Batch) -> None:
        holds = hold_rows(decision)
        plain = not (holds or decision.changed_limits)
        if plain and len(decision.transfers) < COPY_FROM:
            await self._write_at_once(decision, batch)
            return
        for table, rows in zip(_COLUMNS, _new_rows(decision), strict=True):
            await self._rows(table, rows)
        balances = _transposed(balance_rows(decision))
        words = _arrays(search_rows(decision), _SEARCH_WIDTH)
        finish = (*words, *batch_values(batch), event_payload(batch))
        if plain:
            status = await self._c.execute(_BALANCES, *balances)
            _expect_balances(decision, _count(status))
            await self._c.execute(_FINISH, *finish)
            return
        status = await self._c.execute(
            _BALANCES_AND_MORE,
            *_arrays(holds, len(models.holds.c)),
            *_arrays(used_rows(decision), len(LIMIT)),
            *finish,
            *balances,
        )
        _expect_balances(decision, _count(status))

    async def keep(self, keys: list[NewKey]) -> None:
        await self._rows(models.idempotency.name, keys)

    async def close_until(self, at_us: int) -> None:
        await self._c.execute(_CLOSE, at_us)

    async def _write_at_once(self, decision: Decision, batch: Batch) -> None:
        values: list[Any] = []
        for columns, rows in zip(_COLUMNS.values(), _new_rows(decision), strict=True):
            values += _arrays(rows, len(columns))
        values += _arrays(search_rows(decision), _SEARCH_WIDTH)
        values += _transposed(balance_rows(decision))
        changed = await self._c.fetchval(
            _AT_ONCE, *values, *batch_values(batch), event_payload(batch)
        )
        _expect_balances(decision, changed)

    async def _rows(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if len(rows) >= COPY_FROM:
            await self._c.copy_records_to_table(table, records=rows, columns=_COLUMNS[table])
        elif rows:
            await self._c.execute(_INSERTS[table], *_transposed(rows))


def _new_rows(decision: Decision) -> tuple[Sequence[tuple[Any, ...]], ...]:
    """Rows for the tables of ``_NEW``, in that order."""
    return decision.transfers, decision.entries, decision.keys


def _expect_balances(decision: Decision, changed: int) -> None:
    if changed != len(decision.changed_accounts):
        raise NotCommitted("a balance was not at the version that was read")


def _count(status: str) -> int:
    """The rows that a statement's tag counts, such as ``UPDATE 7``."""
    return int(status.rpartition(" ")[2])


def _arrays(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """One array a column, also when there are no rows."""
    return _transposed(rows) if rows else [[]] * width


def _transposed(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


class PostgresStore:
    """Commits batches on a connection of its own with pinned plans."""

    def __init__(self, url: str, clock: Clock, *, resolve_seconds: float = 5.0) -> None:
        self._url = url
        self._clock = clock
        self._resolve_seconds = resolve_seconds
        self._connection: Any = None

    async def commit(
        self, units: list[Unit], more: Callable[[], None] = no_more
    ) -> list[UnitResult]:
        """One transaction for ``units``.

        Raises ``NotCommitted``, ``OutcomeUnknown`` or ``Unavailable``: see ``Store``.
        """
        connection = await self._connected()
        try:
            await connection.execute("BEGIN")
            posted = await post_batch(PostgresBooks(connection), units, self._clock, more)
        except _GONE as error:
            await self.close()
            raise NotCommitted("the connection was lost before the commit") from error
        except BaseException as error:
            await self._rolled_back(connection)
            if isinstance(error, asyncpg.LockNotAvailableError):
                await self._end_blockers()
            if isinstance(error, _AGAIN):
                raise NotCommitted(str(error)) from error
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
                self._connection = await connect_postgres(
                    self._url, PINNED, transaction_ms=TRANSACTION_MS
                )
            except (asyncpg.PostgresError, *_GONE) as error:
                await self.close()
                raise Unavailable() from error
        return self._connection

    async def _end_blockers(self) -> None:
        """End who holds the head and is silent; by the login's rights, which the role has not."""
        settings = {"application_name": "guilder-rescue"}
        try:
            connection = await connect_postgres(self._url, settings, steps_down=False)
            try:
                ended = await connection.fetch(_END_BLOCKERS, timedelta(seconds=HELD_SECONDS))
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, *_GONE) as error:
            _log.error("the head's lock is held, and its holder cannot be ended", exc_info=error)
            return
        for pid, name, client, _ in ended:
            fields = {"backend": pid, "application": name, "client": client}
            _log.error("ended: held the head's lock and sent nothing", extra={"fields": fields})

    async def _rolled_back(self, connection: Any) -> None:
        """Roll back; a connection on which that failed may still have the transaction open."""
        try:
            await connection.execute("ROLLBACK")
        except BaseException as error:
            await self.close()
            if not isinstance(error, (asyncpg.PostgresError, *_GONE)):
                raise

    async def _resolve(self, posted: Posted, cause: Exception) -> None:
        """Learn, under the head's lock and by our nonce, whether a commit without a reply took.

        Raises ``NotCommitted`` when it did not, ``OutcomeUnknown`` when that could not be learned
        in time. Mere keys are written again: run again, a unit finds its own or keeps it.
        """
        if posted.batch is None:
            if posted.unproven:
                raise NotCommitted("it may not be written") from cause
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
            raise NotCommitted("the commit did not take") from cause

    async def _batch_nonce(self, batch_id: int) -> bytes | None:
        connection = await self._connected()
        async with connection.transaction():
            await connection.fetchrow(_LOCK)
            nonce: bytes | None = await connection.fetchval(
                "SELECT nonce FROM ledger_batches WHERE id = $1", batch_id
            )
        return nonce
