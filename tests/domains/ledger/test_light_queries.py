"""Reads without a transaction around them: whatever happens between two of their statements."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from guilder.core.clock import day_of
from guilder.core.page import PageRequest
from guilder.db.postgres import postgres_dsn
from guilder.db.reader import LightReader
from guilder.domains.ledger import queries
from guilder.domains.ledger.queries import LineFilter
from guilder.domains.ledger.repository import history
from guilder.domains.ledger.rules.state import Kind
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import about, hold, pay

type Deed = Callable[[], Awaitable[object]]


class Interrupted(LightReader):
    """Lets something happen before one of its statements, counted from 0."""

    def __init__(self, branch: Branch, place: int, deed: Deed) -> None:
        super().__init__(branch.database.light, branch.clock.now_us())
        self._left = place
        self._deed = deed

    async def rows(self, *args: Any, **values: Any) -> Any:
        """Every row."""
        await self._meanwhile()
        return await super().rows(*args, **values)

    async def keyed(self, *args: Any, **values: Any) -> Any:
        """The rows of these keys."""
        await self._meanwhile()
        return await super().keyed(*args, **values)

    async def _meanwhile(self) -> None:
        self._left -= 1
        if self._left == -1:
            await self._deed()


PLACES = range(5)


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_held_is_never_what_it_has_not_been(branch: Branch, place: int) -> None:
    """A lapsed hold is none, and so it is once it has been taken back."""
    alice, bob = await branch.open(1_000), await branch.open()
    lapses = branch.clock.now_us() + 1_000_000
    (held,) = await branch.post(hold(alice, bob, 400, expires_at=lapses))
    branch.clock.advance(seconds=2)

    async def take_back() -> None:
        assert await branch.said(about(Kind.EXPIRY, held.number)) == ["created"]

    reader = Interrupted(branch, place, take_back)
    found = (await queries.balances_of(reader, [alice]))[alice]
    assert (found.posted, found.held, found.available) == (1_000, 0, 1_000)


@pytest.mark.parametrize("place", PLACES)
async def test_a_hold_that_comes_meanwhile_makes_nothing_available(
    branch: Branch, place: int
) -> None:
    """Of another process, whose clock is behind: here it has lapsed as soon as it is there."""
    alice, bob = await branch.open(1_000), await branch.open()
    lapses = branch.clock.now_us() + 1_000_000
    await branch.post(hold(alice, bob, 1, expires_at=lapses))

    async def set_aside() -> None:
        assert await branch.said(hold(alice, bob, 900, expires_at=lapses)) == ["created"]

    ahead = Interrupted(branch, place, set_aside)
    ahead.now_us += 2_000_000
    found = (await queries.balances_of(ahead, [alice]))[alice]
    assert (found.posted, found.held, found.available) == (1_000, 0, 1_000)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("most", [10, 1])
async def test_a_period_that_has_just_begun_has_no_line_of_the_one_before(
    branch: Branch, place: int, most: int
) -> None:
    """A transfer has its instant before it is committed, and so before anybody sees it."""
    alice = await branch.open(1_000)
    turn = branch.clock.now_us() + 1_000_000

    async def commit_late() -> None:
        assert await branch.said(pay(branch.settlement, alice, 7)) == ["created"]

    reader = Interrupted(branch, place, commit_late)
    totals, lines = await queries.period(reader, alice, turn, turn + 1_000_000, most)
    assert list(lines.items) == []
    assert (totals.credits, totals.debits, totals.count) == (0, 0, 0)
    assert totals.starting == totals.ending


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("to_us", [None, 2_000_000])
async def test_no_line_is_from_before_the_beginning(
    branch: Branch, place: int, to_us: int | None
) -> None:
    alice = await branch.open(1_000)
    turn = branch.clock.now_us() + 1_000_000

    async def commit_late() -> None:
        assert await branch.said(pay(branch.settlement, alice, 7)) == ["created"]

    reader = Interrupted(branch, place, commit_late)
    wanted = LineFilter(from_us=turn, to_us=None if to_us is None else turn + to_us)
    assert list((await queries.lines(reader, alice, wanted, PageRequest(10))).items) == []


@pytest.mark.parametrize("place", PLACES)
async def test_the_end_of_a_day_that_goes_on_is_one_moment(branch: Branch, place: int) -> None:
    """What is booked while it is read is all in it or not at all, whatever its value date."""
    alice = await branch.open(1_000)
    day = day_of(branch.clock.now_us())

    async def go_on() -> None:
        assert await branch.said(pay(alice, branch.settlement, 300)) == ["created"]
        back = pay(branch.settlement, alice, 50, value_on=day)
        assert await branch.said(back) == ["created"]

    reader = Interrupted(branch, place, go_on)
    assert await queries.balance_on(reader, alice, day) in {1_000, 700, 750}


@pytest.mark.parametrize("place", range(6))
async def test_a_list_of_transfers_has_no_gap(
    branch: Branch, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two transfers that come meanwhile it has not the later one alone."""
    monkeypatch.setattr(history, "PARTS_A_STATEMENT", 1)
    alice, bob = await branch.open(1_000), await branch.open(1_000)

    async def go_on() -> None:
        for number in (alice, bob):
            assert await branch.said(pay(number, branch.settlement, 1)) == ["created"]

    reader = Interrupted(branch, place, go_on)
    until = await queries.last_number(reader)
    page = await queries.transfers_of(reader, [alice, bob], PageRequest(10), until)
    numbers = [row.id for row in page.items]
    assert numbers in ([4, 3, 2, 1], [2, 1])


async def test_no_search_keeps_a_look_up_waiting(postgres_url: str) -> None:
    """However long it takes, and however many search."""
    branch = Branch(postgres_url)
    await branch.start()
    alice = await branch.open(1_000)
    blocker = await asyncpg.connect(postgres_dsn(postgres_url))
    await blocker.execute("BEGIN; LOCK TABLE ledger_search IN ACCESS EXCLUSIVE MODE")
    wanted = LineFilter(text="rent")
    searches = [
        asyncio.create_task(branch.runner.read(queries.lines, alice, wanted, PageRequest(10)))
        for _ in range(6)
    ]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(2):
        found = await branch.runner.read(queries.balances_of, [alice])
        assert found[alice].posted == 1_000
        page = await branch.runner.read(queries.lines, alice, LineFilter(), PageRequest(10))
        assert len(page.items) == 1
    assert not any(search.done() for search in searches)
    await blocker.close()
    assert [list(page.items) for page in await asyncio.gather(*searches)] == [[]] * 6
    await branch.close()


async def test_what_lines_are_narrowed_by_fills_no_memory() -> None:
    """Fifty words, and whatever else can be asked for, are thousands of statements."""
    kept = history._lines.cache_info().maxsize
    assert kept is not None
    assert kept <= 256
