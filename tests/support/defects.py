"""Planted defects: what would be wrong if the poster did not do what it does.

Each is a store that a worker takes by name. A reliability test that stays green with one of them
proves nothing. ``synchronous=OFF`` and ``synchronous_commit=off`` are not among them: what they
lose is only lost with the machine, for the page cache survives every kill of a process.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from guilder.core.clock import Clock
from guilder.db.engine import is_sqlite
from guilder.domains.ledger.ports import Store
from guilder.domains.ledger.store.base import ACCOUNTS_SQL
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
    return changed.replace("account_id = ? AND version = ?", "account_id = ? AND ? IS NOT NULL")


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


class LateKeyPostgres(TappedPostgres):
    """Stores the keys in a transaction of their own, after the transfers'."""

    late: list[Callable[[], Awaitable[Any]]]

    async def through(self, sql: str, run: Callable[[str], Awaitable[Any]]) -> Any:
        if sql == "BEGIN":
            self.late = []
        if _writes_keys(sql):
            self.late.append(lambda: run(sql))
            return None
        result = await super().through(sql, run)
        if sql == "COMMIT" and self.late:
            await asyncio.sleep(DELAY_SECONDS)
            for store in self.late:
                await store()
        return result


class LateKeySqlite(TappedSqlite):
    """Stores the keys in a transaction of their own, after the transfers'."""

    late: list[Callable[[], Any]]

    def cursor(self) -> "LateKeyCursor":
        return LateKeyCursor(self, self.connection.cursor())


class LateKeyCursor(TappedCursor):
    """The cursor of a ``LateKeySqlite``."""

    def through(self, sql: str, run: Callable[[str], Any]) -> TappedCursor:
        owner = self.connection
        assert isinstance(owner, LateKeySqlite)
        if sql == "BEGIN IMMEDIATE":
            owner.late = []
        if _writes_keys(sql):
            owner.late.append(lambda: run(sql))
            return self
        super().through(sql, run)
        if sql == "COMMIT" and owner.late:
            time.sleep(DELAY_SECONDS)
            for store in owner.late:
                store()
        return self


def _writes_keys(sql: str) -> bool:
    return "INSERT INTO ledger_idempotency" in sql or sql == "COPY ledger_idempotency"


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
        return sql.replace("chain = $7", "chain = chain").replace(
            "chain = ? WHERE", "chain = iif(? IS NULL, chain, chain) WHERE"
        )


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


def store(url: str, clock: Clock, defect: str | None) -> Store:
    """The store, with a defect planted when one is named."""
    if defect is None:
        return open_store(url, clock)
    tap = TAPS[defect]()
    postgres, sqlite = WRAPPERS.get(defect, (TappedPostgres, TappedSqlite))
    if is_sqlite(url):
        broken = TappedSqliteStore(url, clock, tap)
        broken.wrapper = sqlite
        return broken
    defective = TappedPostgresStore(url, clock, tap)
    defective.wrapper = postgres
    return defective
