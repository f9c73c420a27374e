"""Long work takes turns: whoever waits is served after a slice, not after all of it."""

import asyncio
from itertools import pairwise
from time import perf_counter

import pytest

from guilder.api.turns import SLICE_SECONDS, Turns

pytestmark = pytest.mark.integration


def busy(seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


async def test_a_neighbour_waits_for_a_slice_at_most() -> None:
    turns, told = Turns(), []

    async def long_work(name: str) -> None:
        async with turns.turn() as turn:
            for part in range(3):
                busy(SLICE_SECONDS * 1.1)
                assert turn.over
                told.append(f"{name}{part}")
                await turn.pause()

    async def short_work() -> None:
        for _ in range(20):
            told.append("short")
            await asyncio.sleep(0)

    await asyncio.gather(long_work("a"), long_work("b"), short_work())
    assert [one for one in told if one != "short"] == ["a0", "b0", "a1", "b1", "a2", "b2"]
    slices = [number for number, one in enumerate(told) if one != "short"]
    assert all(other - one > 1 for one, other in pairwise(slices[:4]))


async def test_who_is_cancelled_while_waiting_leaves_the_turn_to_others() -> None:
    turns = Turns()

    async def endless() -> None:
        async with turns.turn() as turn:
            while True:
                await turn.pause()

    both = [asyncio.create_task(endless()) for _ in range(2)]
    await asyncio.sleep(0.01)
    for one in both:
        one.cancel()
    await asyncio.gather(*both, return_exceptions=True)
    async with asyncio.timeout(5), turns.turn():
        pass
