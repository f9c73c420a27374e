"""The ledger on SQLite: a plain DB-API cursor, so that the poster's own connection and one lent by
a unit of work run the same statements.

The poster's connection lives in a thread of its own and one call runs the whole batch there. Where
other writers are first, the batch is filled once its turn has come.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table

from guilder.core.clock import Clock
from guilder.core.errors import OutcomeUnknown, Unavailable
from guilder.db.engine import check_sqlite_library, existing_file, prepare_sqlite, sqlite_path
from guilder.db.sqlite_files import OpenFiles, SqliteFiles
from guilder.db.write_queue import WriteQueue
from guilder.domains.ledger import models
from guilder.domains.ledger.engine import Posted, post_batch, run_sync
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

sqlite3.register_adapter(UUID, str)

_MANY: Final = 30_000
"""Parameters a statement: below SQLite's own limit of 32,766."""


def _insert_sql(table: Table) -> str:
    """An insert with one parameter a column."""
    columns = table.c.keys()
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"


def _set(columns: Iterable[str], first: int = 1) -> str:
    """Columns set to the parameters from ``first`` on."""
    return ", ".join(f"{name} = ?{number}" for number, name in enumerate(columns, first))


_BALANCES = (
    f"UPDATE ledger_balances SET {_set(COUNTERS, 2)}"
    f" WHERE account_id = ?1 AND version = ?{len(COUNTERS) + 2}"
)
_HOLDS = (
    _insert_sql(models.holds) + " ON CONFLICT (id) DO UPDATE"
    " SET remaining = excluded.remaining, state = excluded.state"
)
_USED = f"UPDATE ledger_limits SET {_set(USED, 3)} WHERE account_id = ?1 AND period = ?2"
_TRANSFERS = _insert_sql(models.transfers)
_ENTRIES = _insert_sql(models.entries)
_KEY = _insert_sql(models.idempotency)
_SEARCH = _insert_sql(models.search)
_BATCH = _insert_sql(models.batches)
_EVENT = EVENT_SQL + " ?, ?)"
_HEAD = f"UPDATE ledger_head SET {_set(HEAD_AFTER)} WHERE lane = 0"
_LAPSING = LAPSING_SQL + "?"
_CLOSE = CLOSE_SQL.format("?")
_head = attrgetter(*HEAD_AFTER.values())

_CACHE_KIB: Final = -65_536
"""Of pages in memory, for the one connection that posts; negative is SQLite's way to say KiB."""


class SqliteBooks:
    """``Books`` over a DB-API cursor inside BEGIN IMMEDIATE. Its methods never suspend."""

    def __init__(self, cursor: Any) -> None:
        self._c = cursor

    async def lock(self) -> Head:
        self._c.execute(LOCK_SQL)
        return Head(*self._c.fetchone())

    async def keys(self, keys: Collection[bytes]) -> dict[bytes, StoredKey]:
        return stored_keys(self._in(KEYS_SQL, keys))

    async def refs(self, numbers: Collection[int]) -> tuple[dict[int, Hold], dict[int, Original]]:
        return referenced(self._in(REFS_SQL, numbers))

    async def accounts(self, ids: Collection[int]) -> dict[int, LedgerAccount]:
        return {row[0]: LedgerAccount(*row) for row in self._in(ACCOUNTS_SQL, ids)}

    async def lapsing(self, ids: Collection[int], until_us: int) -> list[Hold]:
        wanted = frozenset(ids)
        self._c.execute(_LAPSING, (until_us,))
        holds = [Hold(*row) for row in self._c.fetchall()]
        return [hold for hold in holds if hold.debit in wanted or hold.credit in wanted]

    async def limits(self, ids: Collection[int]) -> dict[int, list[Limit]]:
        return limits_by_account(self._in(LIMITS_SQL, ids))

    async def write(self, decision: Decision, batch: Batch) -> None:
        self._c.executemany(_TRANSFERS, decision.transfers)
        self._c.executemany(_ENTRIES, decision.entries)
        if decision.keys:
            self._c.executemany(_KEY, decision.keys)
        if words := search_rows(decision):
            self._c.executemany(_SEARCH, words)
        self._update(decision)
        self._finish(batch)

    async def keep(self, keys: list[NewKey]) -> None:
        self._c.executemany(_KEY, keys)

    async def close_until(self, at_us: int) -> None:
        self._c.execute(_CLOSE, (at_us,))

    def _update(self, decision: Decision) -> None:
        self._c.executemany(_BALANCES, balance_rows(decision))
        if self._c.rowcount != len(decision.changed_accounts):
            raise NotCommitted("a balance was not at the version that was read")
        if holds := hold_rows(decision):
            self._c.executemany(_HOLDS, holds)
        if decision.changed_limits:
            self._c.executemany(_USED, used_rows(decision))

    def _finish(self, b: Batch) -> None:
        self._c.execute(_BATCH, batch_values(b))
        self._c.execute(_EVENT, (event_payload(b), b.last_booked_at))
        self._c.execute(_HEAD, _head(b))

    def _in(self, sql: str, values: Collection[Any]) -> Iterator[Sequence[Any]]:
        for some in batched(values, _MANY):
            self._c.execute(f"{sql} IN ({','.join('?' * len(some))})", some)
            yield from self._c.fetchall()


class SqliteStore:
    """Commits batches on a connection and in a thread of its own.

    ``files`` are those of the process's other connections, so that all are to one database.
    """

    def __init__(self, url: str, clock: Clock, files: SqliteFiles | None = None) -> None:
        check_sqlite_library()
        self._path = sqlite_path(url)
        self._files = files or SqliteFiles(self._path)
        self._queue = WriteQueue(self._path)
        self._opened: OpenFiles = ()
        self._clock = clock
        self._connection: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="guilder-poster")

    async def commit(
        self, units: list[Unit], more: Callable[[], None] = no_more
    ) -> list[UnitResult]:
        """One transaction for ``units``.

        Raises ``NotCommitted``, ``OutcomeUnknown`` or ``Unavailable``: see ``Store``.
        """
        loop = asyncio.get_running_loop()
        if not self._queue.enter():
            try:
                await loop.run_in_executor(self._thread, self._queue.wait)
            except asyncio.CancelledError:
                self._thread.submit(self._queue.leave)
                raise
            more()
        return await loop.run_in_executor(self._thread, self._commit_and_leave, units)

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()
        self._queue.close()

    def _commit_and_leave(self, units: list[Unit]) -> list[UnitResult]:
        try:
            return self._commit(units)
        finally:
            self._queue.leave()

    def _commit(self, units: list[Unit]) -> list[UnitResult]:
        try:
            cursor = self._connected().cursor()
        except sqlite3.OperationalError as error:
            raise Unavailable() from error
        try:
            cursor.execute("BEGIN IMMEDIATE")
            posted = run_sync(post_batch(SqliteBooks(cursor), units, self._clock))
            self._files.check(self._opened)
        except sqlite3.OperationalError as error:
            self._rolled_back(cursor)
            if _busy(error):
                raise NotCommitted(str(error)) from error
            raise Unavailable() from error
        except BaseException:
            self._rolled_back(cursor)
            raise
        try:
            cursor.execute("COMMIT")
        except sqlite3.Error as error:
            self._resolve(cursor, posted, error)
        return posted.results

    def _resolve(self, cursor: Any, posted: Posted, cause: Exception) -> None:
        """After a failed commit, look from a new connection whether its batch is there.

        Raises ``Unavailable`` when it is not, ``OutcomeUnknown`` when that cannot be seen, and
        ``NotCommitted`` for mere keys: run again, a unit finds its own or keeps it.
        """
        self._rolled_back(cursor)
        self._disconnect()
        if posted.batch is None:
            if posted.unproven:
                raise NotCommitted("it may not be written") from cause
            return
        try:
            row = (
                self._connected()
                .execute("SELECT nonce FROM ledger_batches WHERE id = ?", (posted.batch.id,))
                .fetchone()
            )
        except (sqlite3.Error, Unavailable):
            raise OutcomeUnknown() from cause
        if row is None or row[0] != posted.batch.nonce:
            raise Unavailable() from cause

    def _rolled_back(self, cursor: Any) -> None:
        if cursor.connection.in_transaction:
            try:
                cursor.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()

    def _connected(self) -> Any:
        if self._connection is None:
            connection = sqlite3.connect(
                existing_file(self._path),
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                prepare_sqlite(connection.cursor())
                connection.execute(f"PRAGMA cache_size={_CACHE_KIB}")
                self._opened = self._files.opened()
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
