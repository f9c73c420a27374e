"""Whatever goes wrong around a batch, the poster goes on and nobody waits for ever."""

import asyncio
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.db.engine import is_sqlite, sqlite_path
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, Unit, UnitResult
from tests.support.bank import ASSET, named, open_bank, open_store
from tests.support.books import read_books
from tests.support.taps import Tap, sqlite_error, tapped_store
from tests.support.waiting import LONG


class BadObserver:
    """Metrics with a defect."""

    def batch(self, postings: int, seconds: float) -> None:
        raise RuntimeError("planted")

    def queue(self, postings: int) -> None:
        raise RuntimeError("planted")


async def test_an_observer_that_fails_does_not_stop_the_bank(database_url: str) -> None:
    bank = await open_bank(database_url, customers=2)
    a, b = bank.customers
    store = open_store(database_url, SystemClock())
    poster = Poster(store, BadObserver())
    poster.start()
    try:
        for number in range(3):
            async with asyncio.timeout(LONG):
                await poster.submit(named(f"n{number}", [Posting(a, b, 1, ASSET)]))
    finally:
        try:
            await poster.stop()
        except RuntimeError:
            await store.close()


class OddDriver(Tap):
    """The driver gives up on a statement with an error of its own, once, before sending it."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.odd = True

    def before(self, sql: str) -> str:
        if self.odd and self.word in sql:
            self.odd = False
            raise asyncpg.InternalClientError("planted")
        return sql


@pytest.mark.parametrize("word", ["BEGIN", "ledger_balances", "UPDATE ledger", "COMMIT"])
async def test_an_error_of_the_driver_itself_leaves_no_open_transaction(
    database_url: str, word: str
) -> None:
    """The driver tells so when the server ended the session between two statements.

    No key protects these, so a transaction left open would show as a second booking.
    """
    bank = await open_bank(database_url, customers=2)
    a, b = bank.customers
    poster = Poster(tapped_store(database_url, SystemClock(), OddDriver(word)))
    poster.start()
    units = [Unit([Posting(a, b, 1, ASSET, reference=f"u{i}")]) for i in range(4)]
    outcomes = await asyncio.gather(*map(poster.submit, units), return_exceptions=True)
    await poster.stop()
    references = [t.reference for t in (await read_books(database_url)).transfers]
    for number, outcome in enumerate(outcomes):
        booked = references.count(f"u{number}")
        assert booked == (not isinstance(outcome, BaseException)), f"{outcome!r}: {booked} times"
    if not is_sqlite(database_url):  # there it is another library, which has no such error
        assert all(isinstance(o, UnitResult | Unavailable) for o in outcomes), outcomes


class BadRollback(Tap):
    """A defect in a batch, and another one when it is rolled back; once each."""

    def __init__(self) -> None:
        self.left = ["UPDATE ledger", "ROLLBACK"]

    def before(self, sql: str) -> str:
        if self.left and self.left[0] in sql:
            raise RuntimeError(f"planted: {self.left.pop(0)}")
        return sql


async def test_a_rollback_that_fails_leaves_no_open_transaction(postgres_url: str) -> None:
    bank = await open_bank(postgres_url, customers=2)
    a, b = bank.customers
    tap = BadRollback()
    poster = Poster(tapped_store(postgres_url, SystemClock(), tap))
    poster.start()
    try:
        with pytest.raises(RuntimeError, match="ROLLBACK"):
            await poster.submit(named("lost", [Posting(a, b, 1, ASSET)]))
        outcome = await poster.submit(named("next", [Posting(a, b, 2, ASSET)]))
        assert outcome.results[0].status == "created"
    finally:
        await poster.stop()
    assert not tap.left
    assert [t.amount for t in (await read_books(postgres_url)).transfers][-1:] == [2]
    assert 1 not in [t.amount for t in (await read_books(postgres_url)).transfers]


async def test_one_client_is_not_told_of_the_drivers_own_error(postgres_url: str) -> None:
    bank = await open_bank(postgres_url, customers=2)
    a, b = bank.customers
    poster = Poster(tapped_store(postgres_url, SystemClock(), OddDriver("UPDATE ledger")))
    poster.start()
    try:
        outcome = await poster.submit(named("alone", [Posting(a, b, 1, ASSET)]))
        assert outcome.results[0].status == "created"
    finally:
        await poster.stop()


async def test_a_database_that_cannot_be_opened_is_unavailable(
    database_url: str, tmp_path: Path
) -> None:
    """Before the first batch and between two; it is taken up again by itself."""
    bank = await open_bank(database_url, customers=2)
    a, b = bank.customers
    if not is_sqlite(database_url):
        return  # a killed server shows it there
    path = sqlite_path(database_url)
    away = tmp_path / "away"
    away.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(path, elsewhere / path.name)
    store: Any = open_store(f"sqlite:///{away}/sub/guilder.db", SystemClock())
    poster = Poster(store)
    poster.start()
    unit = named("u", [Posting(a, b, 1, ASSET)])
    try:
        with pytest.raises(Unavailable):
            await poster.submit(unit)
        (away / "sub").mkdir()
        shutil.move(elsewhere / path.name, away / "sub" / "guilder.db")
        outcome = await poster.submit(unit)
        assert outcome.results[0].status == "created"
    finally:
        await poster.stop()


class CutCommit(Tap):
    """The connection is lost around COMMIT, once."""

    def __init__(self, error: Exception, *, took: bool) -> None:
        self._errors = [error]
        self._took = took

    def before(self, sql: str) -> str:
        if not self._took:
            self._cut(sql)
        return sql

    def after(self, sql: str) -> None:
        if self._took:
            self._cut(sql)

    def _cut(self, sql: str) -> None:
        if sql == "COMMIT" and self._errors:
            raise self._errors.pop()


@pytest.mark.parametrize("took", [False, True])
async def test_a_cut_commit_of_mere_keys_leaves_them_kept(database_url: str, took: bool) -> None:
    """Of a unit whose postings were all booked before, the answer is all that is written."""
    bank = await open_bank(database_url, customers=2)
    a, b = bank.customers
    item = named("item", [Posting(a, b, 1, ASSET)])
    unit = replace(named("unit", [*item.postings, *item.postings]), postings=item.postings)
    first = Poster(open_store(database_url, SystemClock()))
    first.start()
    await first.submit(item)
    await first.stop()
    cut: Exception = asyncpg.ConnectionDoesNotExistError("planted")
    if is_sqlite(database_url):
        cut = sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_IOERR, "planted: disk")
    poster = Poster(tapped_store(database_url, SystemClock(), CutCommit(cut, took=took)))
    poster.start()
    told = await poster.submit(unit)
    again = await poster.submit(unit)
    await poster.stop()
    assert [result.status for result in told.results] == ["replayed"]
    assert (again.results, again.replayed) == (told.results, True)
    kept = [row for row in (await read_books(database_url)).idempotency if row.key == unit.key]
    assert len(kept) == 1
