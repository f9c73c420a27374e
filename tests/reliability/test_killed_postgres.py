"""``kill -9`` of PostgreSQL under load, on a durable server of the test's own."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from guilder.db.engine import Database
from tests.reliability.checks import BACKPRESSURE, check_books, check_told, jobs, settled
from tests.support.bank import open_bank
from tests.support.killing import kill_server, shut_down
from tests.support.postgres import TEMPLATE, Server, private_server
from tests.support.sizes import SEED, of, sizes, tell
from tests.support.waiting import LONG
from tests.support.workers import Campaign, Crew

AWAY = {*BACKPRESSURE, "unavailable", "outcome_unknown"}


@pytest.fixture(scope="module")
def durable_server() -> Iterator[Server]:
    with private_server() as server:
        server.ensure_template()
        yield server


@pytest.fixture
def database_url(durable_server: Server) -> Iterator[str]:
    url = durable_server.clone(TEMPLATE)
    yield url
    durable_server.drop(url)


@sizes(2, 100)
async def test_nothing_acknowledged_is_lost_or_doubled_when_postgres_is_killed(
    database_url: str, durable_server: Server, crew: Crew, size: int
) -> None:
    bank = await open_bank(database_url)
    draw = random.Random(SEED)
    campaign = Campaign(crew, jobs(bank, 2))
    died = 0
    try:
        for _ in range(size):
            wanted = campaign.answered + draw.randint(100, 300) * (3 if size > 10 else 1)
            await asyncio.to_thread(campaign.wait_for_replies, wanted, LONG)
            died += await asyncio.to_thread(kill_server, durable_server)
            await asyncio.to_thread(durable_server.restart)
        told = await asyncio.to_thread(campaign.stop)
    finally:
        campaign.abandon()
    check_told(told, AWAY)
    transfers = await check_books(database_url, campaign.replies)
    accepted = sum(reply.accepted for reply in campaign.replies)
    tell("killed PostgreSQL", kills=size, processes=died, lost=of(0, accepted),
         doubled=of(0, transfers), troubles=dict(told.troubles))  # fmt: skip


@sizes(20, 500)
async def test_a_terminated_backend_is_no_error_to_any_client(
    database_url: str, durable_server: Server, crew: Crew, size: int
) -> None:
    bank = await open_bank(database_url)
    draw = random.Random(SEED)
    campaign = Campaign(crew, jobs(bank, 2))
    statement = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'guilder-poster'"
    )
    try:
        for _ in range(size):
            wanted = campaign.answered + draw.randint(10, 40)
            await asyncio.to_thread(campaign.wait_for_replies, wanted, LONG)
            await asyncio.to_thread(durable_server.execute, statement)
        told = await asyncio.to_thread(campaign.stop)
    finally:
        campaign.abandon()
    check_told(told, AWAY)
    transfers = await check_books(database_url, campaign.replies)
    tell("terminated backends", rounds=size, lost=of(0, transfers), troubles=dict(told.troubles))


async def test_a_server_shut_down_under_load_is_unavailable_and_nothing_else(
    database_url: str, durable_server: Server, crew: Crew
) -> None:
    bank = await open_bank(database_url)
    campaign = Campaign(crew, jobs(bank, 2))
    database = Database(database_url)
    try:
        await asyncio.to_thread(campaign.wait_for_replies, 200, LONG)
        await asyncio.to_thread(shut_down, durable_server)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(durable_server.restart)
        await settled(database)
        await asyncio.to_thread(campaign.wait_for_replies, campaign.answered + 50, LONG)
        told = await asyncio.to_thread(campaign.stop)
    finally:
        await database.close()
        campaign.abandon()
    check_told(told, AWAY)
    transfers = await check_books(database_url, campaign.replies)
    tell("shut down", lost=of(0, transfers), troubles=dict(told.troubles))
