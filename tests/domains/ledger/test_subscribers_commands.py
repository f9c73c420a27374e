"""Holds whose time has come give their money back by themselves, once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from guilder.core.clock import SECOND_US
from guilder.domains.ledger.commands import CloseLedgerAccount, close_ledger_account
from guilder.domains.ledger.errors import BalanceNotZero
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import HoldState, Kind
from guilder.domains.ledger.subscribers import expire_due_holds
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, hold, pay
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


async def test_a_hold_does_not_count_from_its_time_on_though_no_job_has_run(branch: Branch) -> None:
    """It counted until the job had found it, a second or, without jobs, for ever."""
    alice, bob = await branch.open(100), await branch.open()
    end = NOW + SECOND_US
    held, kept = await branch.post(hold(alice, bob, 60, expires_at=end), hold(alice, bob, 10))
    branch.clock.at_us = end - 1
    assert (await branch.balance(alice)).held == 70
    assert await branch.said(pay(alice, bob, 31)) == ["insufficient_funds"]
    branch.clock.at_us = end
    balance = await branch.balance(alice)
    assert (balance.held, balance.available) == (10, 90)
    assert await branch.said(pay(alice, bob, 90), pay(alice, bob, 1)) == [
        "created", "insufficient_funds",
    ]  # fmt: skip
    assert (await branch.balance(alice)).available == 0
    assert await branch.said(about(Kind.CAPTURE, held.number)) == ["hold_expired"]
    assert await branch.said(about(Kind.CAPTURE, kept.number)) == ["created"]
    assert problems(await read_books(branch.url)) == []


async def test_an_account_with_nothing_but_a_lapsed_hold_can_be_closed(
    branch: Branch, posters: list[Poster]
) -> None:
    alice, bob = await branch.open(floor=-50), await branch.open()
    end = NOW + SECOND_US
    await branch.said(hold(alice, bob, 50, expires_at=end))
    for number in (alice, bob):
        with pytest.raises(BalanceNotZero):
            await branch.do(close_ledger_account, CloseLedgerAccount(number))
    branch.clock.at_us = end
    for number in (alice, bob):
        await branch.do(close_ledger_account, CloseLedgerAccount(number))
    assert await expire_due_holds(branch.runner, posters[0]) == 1
    assert await branch.rows("SELECT state FROM ledger_holds") == [(HoldState.EXPIRED,)]


async def test_all_that_is_due_expires_at_once(branch: Branch, posters: list[Poster]) -> None:
    alice, bob = await branch.open(2_000), await branch.open()
    await branch.said(*[hold(alice, bob, 1, expires_at=NOW + SECOND_US)] * 1_100)
    branch.clock.advance(seconds=1)
    assert await expire_due_holds(branch.runner, posters[0]) == 1_100
    assert (await branch.balance(alice)).held == 0
