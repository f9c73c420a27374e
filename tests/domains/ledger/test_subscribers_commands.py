"""Holds whose time has come give their money back by themselves, once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from guilder.core.clock import SECOND_US
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import HoldState, Kind
from guilder.domains.ledger.subscribers import expire_due_holds
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, hold
from tests.support.bank import open_store
from tests.support.books import problems, read_books


@pytest.fixture
async def posters(branch: Branch) -> AsyncIterator[list[Poster]]:
    """Those of two processes."""
    made = [Poster(open_store(branch.url, branch.clock)) for _ in range(2)]
    for poster in made:
        poster.start()
    yield made
    for poster in made:
        await poster.stop()
    assert problems(await read_books(branch.url)) == []


async def test_nothing_is_posted_when_nothing_is_due(branch: Branch, posters: list[Poster]) -> None:
    alice, bob = await branch.open(100), await branch.open()
    await branch.said(hold(alice, bob, 10), hold(alice, bob, 10, expires_at=NOW + SECOND_US))
    before = await read_books(branch.url)
    assert await expire_due_holds(branch.runner, posters[0]) == 0
    assert await read_books(branch.url) == before


async def test_due_holds_expire_once_though_two_processes_look(
    branch: Branch, sister: Branch, posters: list[Poster]
) -> None:
    alice, bob = await branch.open(100), await branch.open()
    ends = [NOW + n * SECOND_US for n in range(1, 6)]
    made = await branch.post(*[hold(alice, bob, 10, expires_at=end) for end in ends])
    branch.clock.at_us = sister.clock.at_us = ends[3]
    assert await branch.said(about(Kind.CAPTURE, made[0].number)) == ["hold_expired"]
    found = await asyncio.gather(
        expire_due_holds(branch.runner, posters[0]), expire_due_holds(sister.runner, posters[1])
    )
    assert max(found) == 4
    states = await branch.rows("SELECT state FROM ledger_holds ORDER BY id")
    assert states == [(HoldState.EXPIRED,)] * 4 + [(HoldState.OPEN,)]
    assert (await branch.balance(alice)).available == 90
    expiries = await branch.rows(f"SELECT ref_id FROM ledger_transfers WHERE kind = {Kind.EXPIRY}")
    assert sorted(number for (number,) in expiries) == [result.number for result in made[:4]]
    assert await expire_due_holds(branch.runner, posters[0]) == 0
