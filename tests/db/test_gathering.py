"""What arrives together is done together, and each is answered for itself."""

import asyncio

import pytest

from guilder.core.errors import Unavailable
from guilder.db import gathering
from guilder.db.gathering import MOST, Gatherer


class Workshop:
    """Work that writes down its rounds and waits, from the second item on, until it may go on."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []
        self.open = asyncio.Event()
        self.gatherer: Gatherer[int, int] = Gatherer(self.work)

    async def work(self, items: list[int]) -> list[int | Exception]:
        self.rounds.append(items)
        await self.open.wait()
        if 13 in items:
            raise ZeroDivisionError
        return [ValueError(str(item)) if item < 0 else 2 * item for item in items]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_idle_begin_at_once_and_the_busy_take_all_that_has_arrived() -> None:
    shop = Workshop()
    asked = [asyncio.create_task(shop.gatherer.submit(1))]
    await settle()
    asked += [asyncio.create_task(shop.gatherer.submit(item)) for item in (2, 3, 4)]
    await settle()
    assert shop.rounds == [[1]]
    shop.open.set()
    assert await asyncio.gather(*asked) == [2, 4, 6, 8]
    assert shop.rounds == [[1], [2, 3, 4]]


async def test_an_exception_among_the_answers_is_one_callers_own() -> None:
    shop = Workshop()
    shop.open.set()
    answers = await asyncio.gather(
        *[shop.gatherer.submit(item) for item in (1, -2, 3)], return_exceptions=True
    )
    assert [str(answer) for answer in answers] == ["2", "-2", "6"]


async def test_work_that_fails_fails_its_round_and_not_the_next() -> None:
    shop = Workshop()
    shop.open.set()
    failed = await asyncio.gather(
        shop.gatherer.submit(13), shop.gatherer.submit(1), return_exceptions=True
    )
    assert all(isinstance(answer, ZeroDivisionError) for answer in failed)
    assert await shop.gatherer.submit(4) == 8


async def test_who_goes_away_neither_ends_the_work_nor_the_others() -> None:
    shop = Workshop()
    leaving, staying = (asyncio.create_task(shop.gatherer.submit(item)) for item in (1, 2))
    await settle()
    leaving.cancel()
    draining = asyncio.create_task(shop.gatherer.drain())
    await settle()
    assert not draining.done()
    shop.open.set()
    assert await staying == 4
    await draining
    assert shop.rounds == [[1, 2]]


async def test_a_round_has_an_end_however_many_come() -> None:
    shop = Workshop()
    shop.open.set()
    await asyncio.gather(*[shop.gatherer.submit(20 + item) for item in range(MOST + 1)])
    assert [len(items) for items in shop.rounds] == [MOST, 1]


async def test_those_that_are_ready_are_the_next_round_in_their_order() -> None:
    shop = Workshop()
    shop.gatherer = Gatherer(shop.work, lambda item: item % 2 == 0)
    shop.open.set()
    asked = [asyncio.create_task(shop.gatherer.submit(item)) for item in (1, 2, 3, 4)]
    assert await asyncio.gather(*asked) == [2, 4, 6, 8]
    assert shop.rounds == [[2, 4], [1, 3]]


async def test_what_waits_is_seen_as_far_as_a_round_takes_it() -> None:
    shop = Workshop()
    asked = [asyncio.create_task(shop.gatherer.submit(20))]
    await settle()
    later = range(21, 23 + MOST)
    asked += [asyncio.create_task(shop.gatherer.submit(item)) for item in later]
    await settle()
    assert shop.gatherer.waiting == list(later)[:MOST]
    shop.open.set()
    await asyncio.gather(*asked)
    assert shop.gatherer.waiting == []


async def test_nobody_waits_for_work_that_is_given_up() -> None:
    shop = Workshop()
    asked = [asyncio.create_task(shop.gatherer.submit(1))]
    await settle()
    asked.append(asyncio.create_task(shop.gatherer.submit(2)))
    await settle()
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "gatherer"]
    task.cancel()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_whose_round_does_not_begin_in_time_is_told_so_and_is_not_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathering, "LATE_SECONDS", 0.02)
    shop = Workshop()
    begun = [asyncio.create_task(shop.gatherer.submit(item)) for item in (1, 2, 3)]
    await settle()
    assert shop.rounds == [[1, 2, 3]]  # who is in a round waits for its end
    later = [asyncio.create_task(shop.gatherer.submit(item)) for item in (4, 5)]
    await settle()
    later[1].cancel()
    with pytest.raises(Unavailable):
        await later[0]
    assert shop.gatherer.waiting == [5]
    shop.open.set()
    assert await asyncio.gather(*begun) == [2, 4, 6]
    assert await shop.gatherer.submit(6) == 12
    assert shop.rounds == [[1, 2, 3], [5], [6]]
