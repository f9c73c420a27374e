"""SQLite that somebody else has locked: everybody is answered within a bound."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable, cause_of
from guilder.db.engine import BUSY_TIMEOUT_MS, sqlite_path
from guilder.db.run import RERUN_SECONDS
from guilder.domains.ledger.poster import BATCH_SECONDS, Poster
from guilder.domains.ledger.rules.state import Posting
from guilder.domains.ledger.store.sqlite import SqliteStore
from tests.db.house import TELLER, House, Note, write_note
from tests.support.bank import named
from tests.support.waiting import lag_measured

BUSY_SECONDS = BUSY_TIMEOUT_MS / 1000


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody else writes all the time: a backup tool, say, or a shell that was left open."""
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        yield


def test_the_bounds_are_seconds() -> None:
    """A command waits for its first audit row, for its runs, and for its last audit row."""
    assert 2 * BUSY_SECONDS + RERUN_SECONDS + BUSY_SECONDS < 25
    assert BATCH_SECONDS + BUSY_SECONDS < 15


@pytest.mark.heavy
async def test_commands_and_transfers_are_answered_and_the_cause_is_told(sqlite_url: str) -> None:
    house = House(sqlite_url)
    await house.runner.run(write_note, Note("before"), TELLER)
    poster = Poster(SqliteStore(sqlite_url, SystemClock()))
    poster.start()
    posting = named("x", [Posting(1, 2, 5, "USD")])
    async with lag_measured() as lag:
        with locked(sqlite_url):
            begun = time.monotonic()
            with pytest.raises(Unavailable) as refused:
                await house.runner.run(write_note, Note("meanwhile"), TELLER)
            assert time.monotonic() - begun < 2 * BUSY_SECONDS + lag.worst
            assert cause_of(refused.value) == "OperationalError: database is locked"
            begun = time.monotonic()
            with pytest.raises(Unavailable) as refused:
                await poster.submit(posting)
            assert time.monotonic() - begun < BATCH_SECONDS + BUSY_SECONDS + lag.worst + 1
            assert cause_of(refused.value) == "OperationalError: database is locked"
    await house.runner.run(write_note, Note("after"), TELLER)
    assert (await poster.submit(posting)).results
    await poster.stop()
    await house.database.close()
