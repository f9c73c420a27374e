"""Connections: one ``Database`` for either engine, with durable settings that are read back.

SQLite has a writing engine (every transaction is BEGIN IMMEDIATE) and a reading one that cannot
write; PostgreSQL has one pool whose views are READ ONLY transactions.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final, Never
from urllib.parse import quote

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from guilder.core.errors import Unavailable
from guilder.db.audit import SQLITE_LINK, audit_chain_hash
from guilder.db.files import (
    expect_writable,
    make_private_file,
    make_private_folder,
    refuse_foreign_folder,
)
from guilder.db.light import ACQUIRE_SECONDS, PostgresSource, SqliteSource
from guilder.db.postgres import (
    CONNECT_TIMEOUT_SECONDS,
    LIMITS,
    PINNED_PLANS,
    PostgresAway,
    connect_postgres,
)
from guilder.db.reader import LightSource
from guilder.db.sqlite_files import SUFFIXES, SqliteFiles
from guilder.db.write_queue import QUEUE_SUFFIXES, WriteQueue

BUSY_TIMEOUT_MS: Final = 5_000
"""How long one statement waits on SQLite while somebody else writes."""
_APPLICATION: Final = {"application_name": "guilder"}
VIEW_SECONDS: Final = 30.0
"""How long one statement of a view may take on PostgreSQL."""

_FIRST_SAFE_SQLITE: Final = (3, 51, 3)
_DURABLE: Final = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "busy_timeout": BUSY_TIMEOUT_MS,
    "recursive_triggers": 1,
}
_LOG_PAGES: Final = 32_000
"""Pages (128 MiB) after which the log is copied back into the database. Keys are random, so every
batch touches pages all over their index, and many batches share one copying."""
_BEGUN: Final = text(LIMITS)
_TRANSIENT_STATES: Final = {"40001", "40P01", "55P03"}
_TRANSIENT_CODES: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_AWAY_CODES: Final = _TRANSIENT_CODES | {
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}
_COMING_STATES: Final = {"53300", "57P01", "57P02", "57P03", "55P03"}
"""Too many connections; shutting down, crashed, starting; somebody holds a lock."""
_AWAY_STATES: Final = {"08", "53", "57"}


class RetryTransaction(Exception):
    """Raised inside a transaction that must not commit and whose work can run again, whole."""


class UnsafeDatabase(RuntimeError):
    """A durability setting did not take, or the SQLite library may corrupt a WAL."""


def is_sqlite(url: str) -> bool:
    """Whether the address names an SQLite file."""
    return url.startswith("sqlite")


def sqlite_path(url: str) -> Path:
    """The file of an SQLite address. Raises ``ValueError`` when it names none."""
    database = make_url(url).database
    if not database or database == ":memory:":
        raise ValueError("an SQLite address needs a file, such as sqlite:///data/guilder.db")
    return Path(database)


def existing_file(path: Path) -> str:
    """The address by which SQLite opens a file that is there, and never makes one."""
    return f"file:{quote(str(path.absolute()))}?mode=rw"


def make_sqlite_file(url: str) -> None:
    """Make the file of an SQLite address and its folder, for their owner only, where none is.

    Raises ``ForeignFolder`` when the file would be somebody else's than its folder, and
    ``Unwritable``: a database in a folder that is not ours to write can be opened and not used.
    """
    path = sqlite_path(url)
    if not path.exists():
        refuse_foreign_folder(path.parent)
    make_private_folder(path.parent)
    make_private_file(path)
    expect_writable(path.parent, *sqlite_files(url))


def sqlite_files(url: str) -> tuple[Path, ...]:
    """The files of an SQLite database: itself, its log, the log's index, and its writers' queue."""
    path = sqlite_path(url)
    return tuple(path.with_name(path.name + end) for end in (*SUFFIXES, *QUEUE_SUFFIXES))


def check_sqlite_library(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raises ``UnsafeDatabase`` for a library with the WAL-reset bug (3.7.0 to 3.51.2)."""
    if version < _FIRST_SAFE_SQLITE:
        raise UnsafeDatabase(
            f"SQLite {'.'.join(map(str, version))} can corrupt a write-ahead log; "
            "3.51.3 or newer is needed (the pysqlite3 package brings one)"
        )


def prepare_sqlite(cursor: Any) -> None:
    """Set the durable settings on a new connection.

    Raises ``UnsafeDatabase`` when one does not take.
    """
    for name, wanted in _DURABLE.items():
        cursor.execute(f"PRAGMA {name}={wanted}")
        cursor.execute(f"PRAGMA {name}")
        found = cursor.fetchone()[0]
        if found != wanted:
            raise UnsafeDatabase(f"SQLite setting {name} is {found!r}, {wanted!r} is needed")
    cursor.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")


class Database:
    """The engines behind one address; knows how to begin a write and how to open a view.

    ``as_owner`` keeps the rights of who owns the tables, and takes whatever time it needs.
    """

    def __init__(self, url: str, *, pool_size: int = 8, as_owner: bool = False) -> None:
        self.url = url
        self.sqlite = is_sqlite(url)
        self.files: SqliteFiles | None = None
        self._queue: WriteQueue | None = None
        if self.sqlite:
            check_sqlite_library()
            self.files = SqliteFiles(sqlite_path(url))
            self._queue = WriteQueue(sqlite_path(url))
            self.writer = _sqlite_engine(url, self.files, "BEGIN IMMEDIATE", 1)
            self.reader = _sqlite_engine(url, self.files, "BEGIN", pool_size)
            self.light: LightSource = SqliteSource(
                partial(_connect_light, url, self.files), self.reader.dialect
            )
        else:
            self.writer = self.reader = _postgres_engine(url, pool_size, as_owner=as_owner)
            self.light = PostgresSource(partial(_connect_light_postgres, url), self.reader.dialect)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A writing transaction: committed at the end of the block, rolled back on an exception."""
        turn = nullcontext() if self._queue is None else self._queue.turn()
        async with self._acquired(self.writer.connect()) as connection, turn, connection.begin():
            if not self.sqlite:
                await connection.execute(_BEGUN)
            yield connection

    @asynccontextmanager
    async def single(self) -> AsyncIterator[AsyncConnection]:
        """For one statement that is a transaction of its own.

        PostgreSQL commits it before it answers: a lock that it takes is not held while the answer
        and a COMMIT travel.
        """
        if self.sqlite:
            async with self.begin() as connection:
                yield connection
            return
        async with self._acquired(self.writer.connect()) as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @asynccontextmanager
    async def view(self) -> AsyncIterator[AsyncConnection]:
        """A transaction with one snapshot that the database lets read and nothing else."""
        try:
            async with self._acquired(self.reader.connect()) as connection:
                if not self.sqlite:
                    await connection.execution_options(
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                yield connection
        except (OSError, PoolTimeout, DBAPIError) as error:
            if _told(error)[1] == sqlite3.SQLITE_READONLY:
                raise  # a view that writes is a defect, not a database that cannot be written
            raise_translated(error)

    @asynccontextmanager
    async def _acquired(
        self, opening: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool, tried before it is used. Raises ``TimeoutError``.

        Where the server stands still the trial alone would last as long as a statement may. SQLite
        has no server, and its own bounds of waiting.
        """
        async with AsyncExitStack() as held:
            async with asyncio.timeout(None if self.sqlite else ACQUIRE_SECONDS):
                connection = await held.enter_async_context(opening)
            yield connection

    async def ping(self) -> None:
        """Prove that a query is answered, on SQLite from the file that lies at its path.

        Raises ``Unavailable`` otherwise, within seconds.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS), self.view() as connection:
                await connection.execute(text("SELECT 1"))
                if self.files is not None:
                    self.files.check(connection.info["files"])
        except TimeoutError as error:
            raise Unavailable() from error

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.writer.dispose()
        await self.reader.dispose()
        await self.light.close()
        if self._queue is not None:
            self._queue.close()


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed at once when run again: deadlock, serialisation, busy."""
    state, code = _told(error)
    return (
        isinstance(error, RetryTransaction)
        or state in _TRANSIENT_STATES
        or code in _TRANSIENT_CODES
    )


def may_come(error: BaseException) -> bool:
    """Whether a database that fails so is away, starting, full or busy, and may yet be there."""
    state, code = _told(error)
    return (
        isinstance(error, PostgresAway)
        or state in _COMING_STATES
        or state.startswith("08")
        or code in _TRANSIENT_CODES
    )


def translated(error: Exception) -> Exception:
    """A database that is away or busy becomes ``Unavailable``; anything else stays what it is."""
    state, code = _told(error)
    if isinstance(error, OSError | PoolTimeout) or is_transient(error):
        return Unavailable()
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Unavailable()
    if isinstance(error, InterfaceError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return Unavailable()
    return Unavailable() if state[:2] in _AWAY_STATES or code in _AWAY_CODES else error


def raise_translated(error: Exception) -> Never:
    """Raise ``translated(error)``: another error with this one as its cause, or this one itself."""
    told = translated(error)
    if told is error:
        raise error
    raise told from error


def _told(error: BaseException) -> tuple[str, int]:
    """PostgreSQL's SQLSTATE and SQLite's primary code, as raised by a driver or wrapped."""
    raw = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(raw, "sqlite_errorcode", None) or 0
    return getattr(raw, "sqlstate", None) or "", code & 0xFF


def _sqlite_engine(url: str, files: SqliteFiles, begin: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        URL.create(
            "sqlite+aiosqlite", database=existing_file(sqlite_path(url)), query={"uri": "true"}
        ),
        pool_size=pool_size,
        hide_parameters=True,  # an error in the log names the statement, never what was stored
        max_overflow=0,
        pool_timeout=2 * BUSY_TIMEOUT_MS / 1000,
    )
    reading = begin == "BEGIN"

    def connect(connection: Any, record: Any) -> None:
        try:
            connection.isolation_level = None  # the driver must not begin transactions of its own
            cursor = connection.cursor()
            prepare_sqlite(cursor)
            if reading:
                cursor.execute("PRAGMA query_only=ON")
            else:
                connection.create_function(SQLITE_LINK, 3, audit_chain_hash, deterministic=True)
            cursor.close()
            record.info["files"] = files.opened()
        except BaseException:
            connection.close()
            raise

    event.listen(engine.sync_engine, "do_connect", lambda *_: files.expect_database())
    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", lambda one: one.exec_driver_sql(begin))
    event.listen(engine.sync_engine, "commit", lambda one: files.check(one.info["files"]))
    return engine


def _connect_light(url: str, files: SqliteFiles) -> sqlite3.Connection:
    files.expect_database()
    connection = sqlite3.connect(
        existing_file(sqlite_path(url)), uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        prepare_sqlite(connection.cursor())
        connection.execute("PRAGMA query_only=ON")
        files.opened()
    except BaseException:
        connection.close()
        raise
    return connection


async def _connect_light_postgres(url: str, *_of_the_pool: Any, **_its: Any) -> Any:
    settings = {**PINNED_PLANS, **_APPLICATION, "default_transaction_read_only": "on"}
    return await connect_postgres(url, settings, command_seconds=VIEW_SECONDS)


def _postgres_engine(url: str, pool_size: int, *, as_owner: bool) -> AsyncEngine:
    settings = {**_APPLICATION, "jit": "off"}
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect_postgres(
            url,
            settings,
            steps_down=not as_owner,
            command_seconds=None if as_owner else VIEW_SECONDS,
        ),
        pool_size=pool_size,
        hide_parameters=True,  # an error in the log names the statement, never what was stored
        max_overflow=pool_size,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        pool_pre_ping=True,
    )
