"""One request never fails its neighbours, and no driver's error reaches a client by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.db.engine import is_sqlite, postgres_dsn
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, UnitResult
from tests.reliability.checks import check_books
from tests.support.bank import ASSET, Bank, named, open_bank, open_store, reply_of

UNSTORABLE: dict[str, dict[str, Any]] = {
    "nul in the description": {"description": "a\x00b"},
    "lone surrogate": {"description": "\ud800"},
    "value date out of range": {"value_on": 2**40},
    "value date out of any range": {"value_on": 2**70},
    "not a text": {"description": b"bytes"},
}


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[tuple[Bank, Poster]]:
    bank = await open_bank(url)
    poster = Poster(open_store(url, SystemClock()))
    poster.start()
    yield bank, poster
    await poster.stop()


@pytest.mark.parametrize("good", [4, 60])
@pytest.mark.parametrize("bad", UNSTORABLE)
async def test_a_value_that_cannot_be_stored_fails_alone(
    database_url: str, bad: str, good: int
) -> None:
    async with posting(database_url) as (bank, poster):
        a, b = bank.customers[:2]
        units = [named(f"good{i}", [Posting(a, b, 1, ASSET)]) for i in range(good)]
        poison = named("bad", [Posting(a, b, 1, ASSET, **UNSTORABLE[bad])])
        units.insert(good // 2, poison)
        outcomes = await asyncio.gather(*map(poster.submit, units), return_exceptions=True)
        told = outcomes.pop(good // 2)
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert not failed, f"{len(failed)} of {good} neighbours failed: {failed[0]!r}"
    # SQLite can store some of these; whatever cannot be stored is not made better by a retry.
    assert not isinstance(told, Unavailable)
    replies = [
        reply_of(f"good{i}", outcome)
        for i, outcome in enumerate(outcomes)
        if isinstance(outcome, UnitResult)
    ]
    await check_books(database_url, replies)


@pytest.mark.parametrize("ended", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_a_backend_ended_while_it_waits_for_the_lock_is_no_error_to_the_client(
    database_url: str, ended: str
) -> None:
    if is_sqlite(database_url):
        pytest.skip("there is no backend")
    async with posting(database_url) as (bank, poster):
        a, b = bank.customers[:2]
        unit = named("w", [Posting(a, b, 1, ASSET)])
        async with connected(database_url) as other, other.transaction():
            await other.execute("SELECT 1 FROM ledger_head FOR UPDATE")
            waiting = asyncio.create_task(poster.submit(unit))
            async with connected(database_url) as third:
                await lock_waited_for(third)
                await third.execute(f"SELECT {ended}(pid) {WAITING}")
                await asyncio.sleep(0.05)
        try:
            outcome = await waiting
        except Unavailable:
            outcome = await poster.submit(unit)
    await check_books(database_url, [reply_of("w", outcome)])


WAITING = (
    "FROM pg_stat_activity WHERE application_name = 'guilder-poster'"
    " AND datname = current_database() AND wait_event_type = 'Lock'"
)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        yield connection
    finally:
        await connection.close()


async def lock_waited_for(connection: Any) -> None:
    async with asyncio.timeout(5):
        while not await connection.fetchval(f"SELECT count(*) {WAITING}"):
            await asyncio.sleep(0.01)
