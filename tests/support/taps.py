"""Taps on the poster's connection: every statement passes through a hook, on either engine.

What a hook does is the test's: count, raise before or after, wait, or plant a defect.
"""

import asyncio
import re
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from guilder.core.clock import Clock
from guilder.db.engine import is_sqlite
from guilder.domains.ledger.ports import Store
from guilder.domains.ledger.store.postgres import PostgresStore
from guilder.domains.ledger.store.sqlite import SqliteStore

_TABLE = re.compile(r"(ledger_\w+|outbox)")
_WORD = re.compile(r"\s*(\w+)")


def step_of(sql: str) -> str:
    """What a statement is called: its verb and the first table it names."""
    verb = _WORD.match(sql)
    table = _TABLE.search(sql)
    assert verb is not None
    return f"{verb.group(1).lower()} {table.group(1) if table else ''}".strip()


class Tap:
    """Hooks around a statement. ``run`` does the statement itself and may be left out."""

    blocking = False
    """Whether a hook waits: on PostgreSQL it is then called in a thread."""

    def before(self, sql: str) -> str:
        """The statement to run instead; may raise."""
        return sql

    def after(self, sql: str) -> None:
        """The statement has run; may raise."""


class Gate(Tap):
    """Holds the batch before or after its n-th statement until it is opened."""

    blocking = True

    def __init__(self) -> None:
        self.at: int | None = None
        self.after_it = False
        self.seen: list[str] = []
        self.reached = threading.Event()
        self.opened = threading.Event()

    def shut(self, at: int, *, after_it: bool = False) -> None:
        self.at, self.after_it, self.seen = at, after_it, []
        self.reached.clear()
        self.opened.clear()

    def before(self, sql: str) -> str:
        self.seen.append(step_of(sql))
        if self.at == len(self.seen) - 1 and not self.after_it:
            self._wait()
        return sql

    def after(self, sql: str) -> None:
        if self.at == len(self.seen) - 1 and self.after_it:
            self._wait()

    def _wait(self) -> None:
        self.at = None
        self.reached.set()
        assert self.opened.wait(20)

    async def has_been_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)


class TappedPostgres:
    """An asyncpg connection whose statements pass through a tap."""

    def __init__(self, connection: Any, tap: Tap) -> None:
        self.connection = connection
        self.tap = tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    async def execute(self, sql: str, *args: Any, **options: Any) -> Any:
        return await self.through(sql, lambda s: self.connection.execute(s, *args, **options))

    async def fetch(self, sql: str, *args: Any, **options: Any) -> Any:
        return await self.through(sql, lambda s: self.connection.fetch(s, *args, **options))

    async def fetchrow(self, sql: str, *args: Any, **options: Any) -> Any:
        return await self.through(sql, lambda s: self.connection.fetchrow(s, *args, **options))

    async def fetchval(self, sql: str, *args: Any, **options: Any) -> Any:
        return await self.through(sql, lambda s: self.connection.fetchval(s, *args, **options))

    async def copy_records_to_table(self, table: str, **options: Any) -> Any:
        return await self.through(
            f"COPY {table}", lambda _: self.connection.copy_records_to_table(table, **options)
        )

    async def through(self, sql: str, run: Callable[[str], Awaitable[Any]]) -> Any:
        if self.tap.blocking:
            changed = await asyncio.to_thread(self.tap.before, sql)
        else:
            changed = self.tap.before(sql)
        result = await run(changed)
        if self.tap.blocking:
            await asyncio.to_thread(self.tap.after, sql)
        else:
            self.tap.after(sql)
        return result


class TappedSqlite:
    """An SQLite connection whose cursors' statements pass through a tap."""

    def __init__(self, connection: Any, tap: Tap) -> None:
        self.connection = connection
        self.tap = tap

    def cursor(self) -> "TappedCursor":
        return TappedCursor(self, self.connection.cursor())

    def execute(self, sql: str, values: Any = ()) -> "TappedCursor":
        return self.cursor().execute(sql, values)

    @property
    def in_transaction(self) -> bool:
        return bool(self.connection.in_transaction)


class TappedCursor:
    """The cursor of a ``TappedSqlite``."""

    def __init__(self, owner: TappedSqlite, cursor: Any) -> None:
        self.connection = owner
        self.cursor = cursor

    def execute(self, sql: str, values: Any = ()) -> "TappedCursor":
        return self.through(sql, lambda s: self.cursor.execute(s, values))

    def executemany(self, sql: str, rows: Iterable[Any]) -> "TappedCursor":
        return self.through(sql, lambda s: self.cursor.executemany(s, rows))

    def fetchone(self) -> Any:
        return self.cursor.fetchone()

    def fetchall(self) -> Any:
        return self.cursor.fetchall()

    @property
    def rowcount(self) -> int:
        return int(self.cursor.rowcount)

    def through(self, sql: str, run: Callable[[str], Any]) -> "TappedCursor":
        run(self.connection.tap.before(sql))
        self.connection.tap.after(sql)
        return self


class TappedPostgresStore(PostgresStore):
    """The real store, heard through a tap."""

    wrapper: type[TappedPostgres] = TappedPostgres

    def __init__(self, url: str, clock: Clock, tap: Tap, **options: Any) -> None:
        super().__init__(url, clock, **options)
        self.tap = tap
        self._tapped: TappedPostgres | None = None

    async def _connected(self) -> Any:
        real = await super()._connected()
        if self._tapped is None or self._tapped.connection is not real:
            self._tapped = self.wrapper(real, self.tap)
        return self._tapped

    async def cut(self) -> None:
        """The network drops the connection; the server notices and rolls back."""
        if self._connection is not None:
            self._connection.terminate()


class TappedSqliteStore(SqliteStore):
    """The real store, heard through a tap."""

    wrapper: type[TappedSqlite] = TappedSqlite

    def __init__(self, url: str, clock: Clock, tap: Tap) -> None:
        super().__init__(url, clock)
        self.tap = tap
        self._tapped: TappedSqlite | None = None

    def _connected(self) -> Any:
        real = super()._connected()
        if self._tapped is None or self._tapped.connection is not real:
            self._tapped = self.wrapper(real, self.tap)
        return self._tapped


def tapped_store(url: str, clock: Clock, tap: Tap, **options: Any) -> Store:
    """The store of either engine, heard through a tap."""
    if is_sqlite(url):
        return TappedSqliteStore(url, clock, tap)
    return TappedPostgresStore(url, clock, tap, **options)


def sqlite_error(kind: type[sqlite3.Error], code: int, words: str) -> sqlite3.Error:
    """An error as the library raises it, with its code."""
    error = kind(words)
    error.sqlite_errorcode = code
    return error
