"""What is answered about an instant that is over never changes: the ledger's part of it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest

from guilder.core.clock import SECOND_US
from guilder.db.reader import Reader
from guilder.domains.ledger import queries
from guilder.domains.ledger.errors import AccountNotFound
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Unit
from guilder.domains.ledger.services import PastReader
from guilder.domains.ledger.verify import verify_ledger
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, pay
from tests.support.bank import open_store
from tests.support.taps import Gate, Tap, sqlite_error, tapped_store


@pytest.fixture
async def past(branch: Branch) -> AsyncIterator[PastReader]:
    """Reads through a poster of the branch's own."""
    poster = Poster(open_store(branch.url, branch.clock))
    poster.start()
    yield PastReader(branch.runner, poster)
    await poster.stop()


async def test_a_process_whose_clock_is_behind_books_later_than_what_was_answered(
    branch: Branch, sister: Branch, past: PastReader
) -> None:
    alice = await branch.open(1_000)
    branch.clock.advance(seconds=10)
    at_us = branch.clock.at_us
    assert await past.read(at_us, queries.balance_at, alice, at_us) == 1_000
    sister.clock.advance(seconds=3)
    (late,) = await sister.post(pay(alice, branch.settlement, 400))
    assert late.booked_at > at_us
    assert await past.read(at_us, queries.balance_at, alice, at_us) == 1_000
    assert await branch.posted(alice) == [600]


async def test_a_batch_in_flight_is_waited_for(branch: Branch, past: PastReader) -> None:
    alice = await branch.open(1_000)
    gate = Gate()
    store = tapped_store(branch.url, branch.clock, gate)
    await store.commit([Unit([pay(branch.settlement, alice, 1)])])
    gate.shut(at=len(gate.seen) - 1)
    flight = asyncio.create_task(store.commit([Unit([pay(alice, branch.settlement, 400)])]))
    await gate.has_been_reached()  # it has its instant, and nobody sees it
    branch.clock.advance(seconds=1)
    at_us = branch.clock.at_us
    asked = asyncio.create_task(past.read(at_us, queries.balance_at, alice, at_us))
    await asyncio.sleep(0.2)
    assert not asked.done()
    gate.opened.set()
    assert await asked == 601
    await flight
    await store.close()


async def test_what_is_closed_needs_no_batch(branch: Branch, past: PastReader) -> None:
    alice = await branch.open(1_000)
    booked_at = branch.clock.at_us
    branch.clock.advance(seconds=10)
    at_us = branch.clock.at_us
    assert await branch.ask(queries.is_open, at_us)
    await past.read(at_us, queries.balance_at, alice, at_us)
    for closed in (booked_at, at_us - 1, at_us):
        assert not await branch.ask(queries.is_open, closed)
    for to_come in (at_us + 1, at_us + 10 * SECOND_US):
        assert not await branch.ask(queries.is_open, to_come)
    before = await branch.rows("SELECT closed_us, clock_us, last_no FROM ledger_head")
    for never in (None, at_us, at_us + 10 * SECOND_US):
        await past.read(never, queries.balance_at, alice, at_us)
    assert await branch.rows("SELECT closed_us, clock_us, last_no FROM ledger_head") == before
    assert (await branch.runner.view(verify_ledger)).broken is None


async def test_who_is_refused_closes_nothing(branch: Branch, past: PastReader) -> None:
    async def refused(_reader: Reader) -> None:
        raise AccountNotFound()

    branch.clock.advance(seconds=10)
    before = await branch.rows("SELECT closed_us FROM ledger_head")
    with pytest.raises(AccountNotFound):
        await past.read(branch.clock.at_us, refused)
    assert await branch.rows("SELECT closed_us FROM ledger_head") == before


async def test_one_batch_closes_and_books_and_all_of_it_is_later(branch: Branch) -> None:
    alice = await branch.open(1_000)
    (booked,) = await branch.post(
        Unit([], closes_us=NOW + 7), Unit([pay(alice, branch.settlement, 1)]),
        Unit([], closes_us=NOW + 9), Unit([], closes_us=NOW + 3),
    )  # fmt: skip
    assert booked.booked_at == NOW + 10
    (later,) = await branch.post(pay(alice, branch.settlement, 1))
    assert later.booked_at == NOW + 11
    assert (await branch.runner.view(verify_ledger)).broken is None


class Lost(Tap):
    """Loses the reply to the first commit, which did not take."""

    def __init__(self, error: Exception) -> None:
        self.errors = [error]

    def before(self, sql: str) -> str:
        if sql == "COMMIT" and self.errors:
            raise self.errors.pop()
        return sql


async def test_an_instant_whose_closing_may_not_have_committed_is_closed_again(
    branch: Branch,
) -> None:
    broken = sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_IOERR, "disk I/O error")
    tap = Lost(broken if branch.sqlite else ConnectionResetError())
    store = tapped_store(branch.url, branch.clock, tap)
    poster = Poster(store)
    poster.start()
    branch.clock.advance(seconds=10)
    at_us = branch.clock.at_us
    await PastReader(branch.runner, poster).read(at_us, queries.balance_at, 1, at_us)
    assert not await branch.ask(queries.is_open, at_us)
    assert tap.errors == []
    await poster.stop()
