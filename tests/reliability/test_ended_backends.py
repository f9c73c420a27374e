"""A backend that the server ends, at any moment of a batch, is no error to any client."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.db.postgres import postgres_dsn
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting
from tests.reliability.checks import check_books
from tests.support.bank import ASSET, Bank, Reply, named, open_bank, open_store, reply_of
from tests.support.sizes import SEED, of, tell
from tests.support.taps import Gate, tapped_store
from tests.support.waiting import LONG

POSTERS = (
    "FROM pg_stat_activity WHERE application_name = 'guilder-poster'"
    " AND datname = current_database()"
)
WAITING = f"{POSTERS} AND wait_event_type = 'Lock'"


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """SQLite has no backends."""
    return postgres_url


def payment(bank: Bank) -> Posting:
    return Posting(bank.customers[0], bank.customers[1], 1, ASSET)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("ended", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_while_it_waits_for_the_lock(database_url: str, ended: str) -> None:
    bank = await open_bank(database_url, customers=2)
    poster = Poster(open_store(database_url, SystemClock()))
    poster.start()
    unit = named("w", [payment(bank)])
    try:
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
    finally:
        await poster.stop()
    await check_books(database_url, [reply_of("w", outcome)])


async def lock_waited_for(connection: Any) -> None:
    async with asyncio.timeout(LONG):
        while not await connection.fetchval(f"SELECT count(*) {WAITING}"):
            await asyncio.sleep(0.01)


async def test_before_or_after_any_statement(database_url: str) -> None:
    """The driver hears of the end between two statements, which it reports in ways of its own."""
    bank = await open_bank(database_url, customers=2)
    gate = Gate()
    poster = Poster(tapped_store(database_url, SystemClock(), gate))
    poster.start()
    replies: list[Reply] = []
    errors: list[str] = []
    draw = random.Random(SEED)
    await poster.submit(named("first", [payment(bank)]))
    steps = list(gate.seen)
    moments = [(at, after) for at in range(len(steps)) for after in (False, True)]
    async with connected(database_url) as other:
        for at, after in moments:
            name = f"{'after' if after else 'before'} {at}, {steps[at]}"
            unit = named(name, [payment(bank)])
            gate.shut(at, after_it=after)
            waiting = asyncio.create_task(poster.submit(unit))
            await gate.has_been_reached()
            await other.execute(f"SELECT pg_terminate_backend(pid) {POSTERS}")
            await asyncio.sleep(draw.choice([0, 0.001, 0.02]))
            gate.opened.set()
            try:
                replies.append(reply_of(name, await waiting))
            except Unavailable:
                pass
            except Exception as error:  # noqa: BLE001 - what a client must never see
                errors.append(f"{name}: {error!r}")
            replies.append(reply_of(name, await poster.submit(unit)))
    await poster.stop()
    await check_books(database_url, replies)
    tell("ended backends", errors=of(len(errors), len(moments)))
    assert not errors, "\n".join(errors)
