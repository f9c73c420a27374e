"""Faults at random steps of a batch: before or after any statement, COMMIT and its reply included.

What is raised is what the driver would raise, and the connection is left as it would be left.
"""

import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from guilder.core.clock import Clock
from guilder.db.engine import is_sqlite
from guilder.domains.ledger.ports import Store
from tests.support.taps import (
    Tap,
    TappedPostgres,
    TappedPostgresStore,
    TappedSqliteStore,
    sqlite_error,
    step_of,
)


class PlantedError(RuntimeError):
    """A defect of the program itself: no driver raises it."""


class Dice:
    """Decides from a seed where the next fault strikes, and counts where faults have struck."""

    def __init__(self, seed: int, share: float) -> None:
        self._draw = random.Random(seed)
        self._share = share
        self.struck: Counter[str] = Counter()

    def strikes(self, when: str, sql: str) -> bool:
        share = self._share * (5 if sql == "COMMIT" else 1)  # there the outcome is in doubt
        if self._draw.random() >= share:
            return False
        self.struck[f"{when} {step_of(sql)}"] += 1
        return True

    def choose[T](self, *kinds: T) -> T:
        return self._draw.choice(kinds)


class FaultyPostgres(TappedPostgres):
    """Loses the connection, is told of deadlocks and full disks, or meets a defect."""

    dice: Dice

    async def through(self, sql: str, run: Callable[[str], Awaitable[Any]]) -> Any:
        if self.dice.strikes("before", sql):
            await self._fail(sql)
        result = await super().through(sql, run)
        if self.dice.strikes("after", sql):
            await self._fail(sql)
        return result

    async def _fail(self, sql: str) -> None:
        if sql == "COMMIT":
            kind = self.dice.choose("cut", "cut", "serialization")
        else:
            kind = self.dice.choose("cut", "deadlock", "defect", "silence")
        if kind == "defect":
            raise PlantedError(sql)
        if kind in ("deadlock", "serialization"):
            # The server has ended the transaction; what it says depends on nothing else.
            await self.connection.execute("ROLLBACK")
            raise {
                "deadlock": asyncpg.DeadlockDetectedError,
                "serialization": asyncpg.SerializationError,
            }[kind]("planted")
        self.connection.terminate()
        if kind == "silence":
            raise TimeoutError
        raise asyncpg.ConnectionDoesNotExistError("planted")


class FaultTap(Tap):
    """The faults of SQLite: raised around a statement, the transaction still open."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def before(self, sql: str) -> str:
        if sql != "ROLLBACK" and self._dice.strikes("before", sql):
            self._fail(sql)
        return sql

    def after(self, sql: str) -> None:
        if sql != "ROLLBACK" and self._dice.strikes("after", sql):
            self._fail(sql)

    def _fail(self, sql: str) -> None:
        busy = sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_BUSY, "planted: locked")
        broken = sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_IOERR, "planted: disk")
        full = sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_FULL, "planted: full")
        if sql == "COMMIT":
            raise self._dice.choose(broken, full)
        raise self._dice.choose(busy, broken, full, PlantedError(sql))


def faulty_store(url: str, clock: Clock, dice: Dice) -> Store:
    """The store of either engine, with faults."""
    if is_sqlite(url):
        return TappedSqliteStore(url, clock, FaultTap(dice))
    store = TappedPostgresStore(url, clock, Tap())
    store.wrapper = type("Faulty", (FaultyPostgres,), {"dice": dice})
    return store
