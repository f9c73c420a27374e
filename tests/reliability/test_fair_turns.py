"""Two processes that write all the time to one SQLite database take turns."""

from itertools import groupby

import pytest
from sqlalchemy import text

from guilder.db.engine import Database
from tests.reliability.checks import check_books, check_told
from tests.support.bank import open_bank
from tests.support.sizes import tell
from tests.support.waiting import LONG
from tests.support.worker import Job
from tests.support.workers import Campaign, Crew, until

FAIR = 2.5
"""Batches that one writes before the other has a turn, on average. Without a queue: over four."""

_FIRST_OF_BATCHES = text(
    "SELECT t.reference FROM ledger_batches b JOIN ledger_transfers t ON t.id = b.first_no"
    " WHERE t.reference LIKE 'turns-%' ORDER BY b.id"
)


@pytest.mark.heavy
async def test_two_processes_that_write_all_the_time_take_turns(
    sqlite_url: str, crew: Crew
) -> None:
    bank = await open_bank(sqlite_url)
    jobs = [
        Job("load", sqlite_url, list(bank.customers), name=f"turns-{name}", mix="plain", clients=4)
        for name in ("left", "right")
    ]
    campaign = Campaign(crew, jobs)
    assert until(lambda: all(worker.replies for worker in campaign.workers), LONG)
    campaign.wait_for_replies(campaign.answered + 400, LONG)
    told = campaign.stop()
    check_told(told, set())
    await check_books(sqlite_url, campaign.replies)
    database = Database(sqlite_url)
    async with database.view() as connection:
        names = [name.split(".")[0] for name in await connection.scalars(_FIRST_OF_BATCHES)]
    await database.close()
    turns = [len(list(batches)) for _, batches in groupby(names)][1:-1]
    assert turns, "one had no turn before the other was done"
    tell("turns", turns=len(turns), mean=sum(turns) / len(turns), longest=max(turns))
    assert sum(turns) / len(turns) < FAIR
