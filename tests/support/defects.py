"""Planted defects: what would be wrong if the poster did not do what it does.

Each is a store that a worker takes by name. A reliability test that stays green with one of them
proves nothing. ``synchronous=OFF`` and ``synchronous_commit=off`` are not among them: what they
lose is only lost with the machine, for the page cache survives every kill of a process.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from guilder.core.clock import Clock
from guilder.db.engine import is_sqlite
from guilder.db.write_queue import WriteQueue
from guilder.domains.ledger.ports import Batch, Store
from guilder.domains.ledger.rules.rows import NewKey
from guilder.domains.ledger.rules.state import Decision
from guilder.domains.ledger.store import postgres as postgres_store
from guilder.domains.ledger.store import sqlite as sqlite_store
from guilder.domains.ledger.store.base import ACCOUNTS_SQL
from guilder.domains.ledger.store.postgres import PostgresBooks
from guilder.domains.ledger.store.sqlite import SqliteBooks, SqliteStore
from tests.support.bank import open_store
from tests.support.taps import (
    Tap,
    TappedCursor,
    TappedPostgres,
    TappedPostgresStore,
    TappedSqlite,
    TappedSqliteStore,
)

DELAY_SECONDS = 0.03
"""How long a defect keeps its window open, so that a short test falls into it."""

_NOTHING = "SELECT 1"


class NoLock(Tap):
    """The head is read and not locked."""

    def before(self, sql: str) -> str:
        return sql.replace(" FOR UPDATE", "").replace("BEGIN IMMEDIATE", "BEGIN")


class NoLockNoCompare(NoLock):
    """Neither the lock nor the version check of the balances."""

    def before(self, sql: str) -> str:
        return _without_compare(super().before(sql))


class NoTransaction(Tap):
    """Every statement commits by itself."""

    def before(self, sql: str) -> str:
        return _NOTHING if sql in ("BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK") else sql


class StaleBalances(Tap):
    """Balances are read before the lock is waited for, and written without the version check."""

    def before(self, sql: str) -> str:
        return _without_compare(sql)


def _without_compare(sql: str) -> str:
    changed = sql.replace("b.version = u.loaded", "u.loaded IS NOT NULL")
    return changed.replace("account_id = ?1 AND version = ", "account_id = ?1 AND 0 < ")


_STALE_SQL = ACCOUNTS_SQL.replace("WHERE account_id ", "")


class StalePostgres(TappedPostgres):
    """Reads the balances ahead of BEGIN and answers from what it read."""

    stale: list[Any]

    async def through(self, sql: str, run: Callable[[str], Awaitable[Any]]) -> Any:
        if sql == "BEGIN":
            self.stale = await self.connection.fetch(_STALE_SQL)
            await asyncio.sleep(DELAY_SECONDS / 10)
        result = await super().through(sql, run)
        return self.stale if _reads_balances(sql) else result


class StaleSqlite(TappedSqlite):
    """Reads the balances ahead of BEGIN and answers from what it read."""

    stale: list[Any]

    def cursor(self) -> "StaleCursor":
        return StaleCursor(self, self.connection.cursor())


class StaleCursor(TappedCursor):
    """The cursor of a ``StaleSqlite``."""

    _answers = False

    def through(self, sql: str, run: Callable[[str], Any]) -> TappedCursor:
        owner = self.connection
        assert isinstance(owner, StaleSqlite)
        if sql == "BEGIN IMMEDIATE":
            owner.stale = self.cursor.execute(_STALE_SQL).fetchall()
            time.sleep(DELAY_SECONDS / 10)
        self._answers = _reads_balances(sql)
        return super().through(sql, run)

    def fetchall(self) -> Any:
        owner = self.connection
        assert isinstance(owner, StaleSqlite)
        return owner.stale if self._answers else super().fetchall()


def _reads_balances(sql: str) -> bool:
    return sql.startswith(ACCOUNTS_SQL)


_LATE = "INSERT INTO ledger_idempotency (key, fingerprint, transfer_id, answer) VALUES "


class LateKeyBooksPostgres(PostgresBooks):
    """Leaves the keys out of the batch's transaction."""

    async def write(self, decision: Decision, batch: Batch) -> None:
        self._c.late, decision.keys = decision.keys, []
        await super().write(decision, batch)


class LateKeyPostgres(TappedPostgres):
    """Stores the keys in a transaction of their own, after the transfers'."""

    late: list[NewKey]

    async def through(self, sql: str, run: Callable[[str], Awaitable[Any]]) -> Any:
        if sql == "BEGIN":
            self.late = []
        result = await super().through(sql, run)
        if sql == "COMMIT" and self.late:
            await asyncio.sleep(DELAY_SECONDS)
            await self.connection.executemany(f"{_LATE} ($1, $2, $3, $4)", self.late)
        return result


class LateKeyBooksSqlite(SqliteBooks):
    """Leaves the keys out of the batch's transaction."""

    async def write(self, decision: Decision, batch: Batch) -> None:
        self._c.connection.late, decision.keys = decision.keys, []
        await super().write(decision, batch)


class LateKeySqlite(TappedSqlite):
    """Stores the keys in a transaction of their own, after the transfers'."""

    late: list[NewKey]

    def cursor(self) -> "LateKeyCursor":
        return LateKeyCursor(self, self.connection.cursor())


class LateKeyCursor(TappedCursor):
    """The cursor of a ``LateKeySqlite``."""

    def through(self, sql: str, run: Callable[[str], Any]) -> TappedCursor:
        owner = self.connection
        assert isinstance(owner, LateKeySqlite)
        if sql == "BEGIN IMMEDIATE":
            owner.late = []
        super().through(sql, run)
        if sql == "COMMIT" and owner.late:
            time.sleep(DELAY_SECONDS)
            self.cursor.executemany(f"{_LATE} (?, ?, ?, ?)", owner.late)
        return self


class EarlyAnswerPostgres(TappedPostgres):
    """Answers the clients, and commits before the next batch."""

    owing = False

    async def through(self, sql: str, run: Callable[[str], Awaitable[Any]]) -> Any:
        if sql == "BEGIN" and self.owing:
            await asyncio.sleep(DELAY_SECONDS)
            await self.connection.execute("COMMIT")
            self.owing = False
        if sql == "COMMIT":
            self.owing = True
            return None
        return await super().through(sql, run)


class EarlyAnswerSqlite(TappedSqlite):
    """Answers the clients, and commits before the next batch."""

    owing = False

    def cursor(self) -> "EarlyAnswerCursor":
        return EarlyAnswerCursor(self, self.connection.cursor())


class EarlyAnswerCursor(TappedCursor):
    """The cursor of an ``EarlyAnswerSqlite``."""

    def through(self, sql: str, run: Callable[[str], Any]) -> TappedCursor:
        owner = self.connection
        assert isinstance(owner, EarlyAnswerSqlite)
        if sql == "BEGIN IMMEDIATE" and owner.owing:
            time.sleep(DELAY_SECONDS)
            self.cursor.execute("COMMIT")
            owner.owing = False
        if sql == "COMMIT":
            owner.owing = True
            return self
        return super().through(sql, run)


class NoChain(Tap):
    """The head keeps its first chain, so every link hangs on nothing."""

    def before(self, sql: str) -> str:
        kept = re.sub(r"chain = \$\d+", "chain = chain", sql)
        return re.sub(r"chain = (\?\d+)", r"chain = iif(\1 IS NULL, chain, chain)", kept)


TAPS: dict[str, Callable[[], Tap]] = {
    "no_lock": NoLock,
    "no_lock_no_compare": NoLockNoCompare,
    "no_transaction": NoTransaction,
    "stale_balances": StaleBalances,
    "late_key": Tap,
    "early_answer": Tap,
    "no_chain": NoChain,
}
WRAPPERS: dict[str, tuple[type[TappedPostgres], type[TappedSqlite]]] = {
    "stale_balances": (StalePostgres, StaleSqlite),
    "late_key": (LateKeyPostgres, LateKeySqlite),
    "early_answer": (EarlyAnswerPostgres, EarlyAnswerSqlite),
}


class NoQueue(WriteQueue):
    """What a program does that knows no queue: it meets the others at SQLite's own lock."""

    def _opened(self) -> tuple[int, ...]:
        return ()


def store(url: str, clock: Clock, defect: str | None, *, queues: bool = True) -> Store:
    """The store, with a defect planted when one is named: then it never queues on SQLite.

    In the queue writers do not meet, and what is wrong when they do would not be seen.
    """
    late = defect == "late_key"
    # A worker takes one job after another, so what one planted the next takes out again.
    setattr(postgres_store, "PostgresBooks", LateKeyBooksPostgres if late else PostgresBooks)  # noqa: B010
    setattr(sqlite_store, "SqliteBooks", LateKeyBooksSqlite if late else SqliteBooks)  # noqa: B010
    if defect is None:
        sound = open_store(url, clock)
        return sound if queues else _past_the_queue(sound)
    tap = TAPS[defect]()
    postgres, sqlite = WRAPPERS.get(defect, (TappedPostgres, TappedSqlite))
    if is_sqlite(url):
        broken = TappedSqliteStore(url, clock, tap)
        broken.wrapper = sqlite
        return _past_the_queue(broken)
    defective = TappedPostgresStore(url, clock, tap)
    defective.wrapper = postgres
    return defective


def _past_the_queue(store: Store) -> Store:
    if isinstance(store, SqliteStore):
        store._queue = NoQueue(Path())
    return store
