"""Sources of light reads: SQLite within the event loop's own thread, PostgreSQL in one round trip.

On SQLite a look-up takes less than the way to another thread and back. What turns out to be longer
is stopped and done there: no statement holds the loop for more than some milliseconds.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import batched, chain
from typing import Any, Final

import asyncpg
from sqlalchemy import Dialect

from guilder.db.gathering import Gatherer
from guilder.db.prepared import MOST_KEYS, Compiled, Keyed

STEPS_AT_ONCE: Final = 25_000
"""Instructions of SQLite's machine, about 2 ms: after that many to twice as many a statement that
is run in the loop is stopped."""
_THREADS: Final = 4
"""Which is how many long statements run at once."""
_LATER: Final = {sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

POSTGRES_CONNECTIONS: Final = 4
_SCANS: Final = 2
"""How many of PostgreSQL's connections may look at any number of rows: the others are for
look-ups, which nobody's search keeps waiting."""
ACQUIRE_SECONDS: Final = 5.0
"""How long a statement waits for its turn, and PostgreSQL may take to answer a look-up by keys."""
_GONE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # told of its end, and not hung up yet
    ConnectionError,
)


class SqliteSource:
    """Light reads of an SQLite database; ``connect`` opens a connection that cannot write."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], dialect: Dialect) -> None:
        self.dialect = dialect
        self._connect = connect
        self._here: sqlite3.Connection | None = None
        self._opening = asyncio.Semaphore(1)
        self._turns = asyncio.Semaphore(_THREADS)
        self._told = 0
        self._there = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._threads: ThreadPoolExecutor | None = None

    async def fetch(self, statement: Compiled, arguments: Sequence[Any]) -> list[Any]:
        """What is found, here and now or by a thread."""
        here = self._here or await self._open_here()
        self._told = 0
        try:
            return here.execute(statement.sql, arguments).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _LATER:
                raise
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "sqlite reads")
        async with _turn(self._turns):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._slow, statement.sql, arguments)

    async def keyed[K, R](
        self, keyed: Keyed[K, R], keys: Sequence[K], values: dict[str, Any]
    ) -> dict[K, R]:
        """The rows of some keys."""
        statement, arguments = keyed.on(self.dialect, keys, values)
        return keyed.found(statement, await self.fetch(statement, arguments))

    async def _open_here(self) -> sqlite3.Connection:
        """The loop's own connection, which waits for nobody; to be opened it may have to."""
        async with _turn(self._opening):
            if self._here is None:
                opened = await asyncio.to_thread(self._connect)
                opened.execute("PRAGMA busy_timeout=0")
                opened.set_progress_handler(self._is_long, STEPS_AT_ONCE)
                self._here = opened
            return self._here

    def _is_long(self) -> bool:
        """SQLite counts the steps of all runs of a statement, so one of any length tells once."""
        self._told += 1
        return self._told > 1

    def _slow(self, sql: str, arguments: Sequence[Any]) -> list[Any]:
        connection: sqlite3.Connection | None = getattr(self._there, "connection", None)
        if connection is None:
            connection = self._there.connection = self._connect()
            self._opened.append(connection)
        return connection.execute(sql, arguments).fetchall()

    async def close(self) -> None:
        """Close every connection, once what runs is done."""
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
        for connection in (*self._opened, *([self._here] if self._here else [])):
            connection.close()
        self._here, self._threads, self._there = None, None, threading.local()
        self._opened.clear()


class PostgresSource:
    """Light reads of a PostgreSQL database; ``connect`` opens a connection that cannot write."""

    def __init__(self, connect: Callable[..., Any], dialect: Dialect) -> None:
        self.dialect = dialect
        self._connect = connect
        self._pool: Any = None
        self._gatherers: dict[object, Gatherer[Any, Any]] = {}
        self._scans = asyncio.Semaphore(_SCANS)

    async def fetch(
        self, statement: Compiled, arguments: Sequence[Any], seconds: float | None = None
    ) -> list[Any]:
        """What the server finds; a connection that it has ended meanwhile is replaced once."""
        if statement.scans:
            async with _turn(self._scans):
                return await self._fetched(statement, arguments, seconds)
        return await self._fetched(statement, arguments, seconds)

    async def _fetched(
        self, statement: Compiled, arguments: Sequence[Any], seconds: float | None
    ) -> list[Any]:
        try:
            return await self._fetch(statement.sql, arguments, seconds)
        except _GONE:
            return await self._fetch(statement.sql, arguments, seconds)

    async def keyed[K, R](
        self, keyed: Keyed[K, R], keys: Sequence[K], values: dict[str, Any]
    ) -> dict[K, R]:
        """The rows of some keys; by keys alone, together with what others want at the same time."""
        if values:
            statement, arguments = keyed.on(self.dialect, keys, values)
            return keyed.found(statement, await self.fetch(statement, arguments))
        gatherer: Gatherer[Sequence[K], dict[K, R]] | None = self._gatherers.get(keyed)
        if gatherer is None:
            gatherer = self._gatherers[keyed] = Gatherer(partial(self._look_up, keyed))
        return await gatherer.submit(keys)

    async def _look_up[K, R](
        self, keyed: Keyed[K, R], asked: list[Sequence[K]]
    ) -> list[dict[K, R]]:
        found: dict[K, R] = {}
        for some in batched(dict.fromkeys(chain.from_iterable(asked)), MOST_KEYS):
            statement, arguments = keyed.on(self.dialect, some, {})
            rows = await self.fetch(statement, arguments, ACQUIRE_SECONDS)
            found |= keyed.found(statement, rows)
        return [{key: found[key] for key in keys if key in found} for keys in asked]

    async def _fetch(self, sql: str, arguments: Sequence[Any], seconds: float | None) -> list[Any]:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                min_size=0,
                max_size=POSTGRES_CONNECTIONS,
                connect=self._connect,
                reset=_as_it_is,
            )
        pool = self._pool
        await pool  # opens it, the first time
        async with pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            try:
                found: list[Any] = await connection.fetch(sql, *arguments, timeout=seconds)
            except _GONE:
                connection.terminate()  # it would be given to the next
                raise
            return found

    async def close(self) -> None:
        """Close every connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()


@asynccontextmanager
async def _turn(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of some turns. Raises ``TimeoutError`` when none comes within ``ACQUIRE_SECONDS``."""
    async with asyncio.timeout(ACQUIRE_SECONDS):
        await turns.acquire()
    try:
        yield
    finally:
        turns.release()


async def _as_it_is(_connection: Any) -> None:
    """Statements that are transactions of their own leave nothing to be reset."""
