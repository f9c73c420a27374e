"""A client that goes away drops its future, never the batch; stopping finishes what is queued."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Overloaded, Unavailable
from guilder.domains.ledger.poster import ALWAYS_QUEUED, MAX_BATCH, Poster
from guilder.domains.ledger.rules.state import Posting, Unit, UnitResult
from tests.reliability.checks import check_books
from tests.support.bank import ASSET, Bank, Reply, named, open_bank, open_store, reply_of
from tests.support.books import read_books
from tests.support.sizes import SEED, of, sizes, tell
from tests.support.taps import Gate, tapped_store
from tests.support.waiting import LONG

FILLING = ALWAYS_QUEUED // MAX_BATCH + 1
"""Full batches that make a queue too long."""


@asynccontextmanager
async def gated(url: str) -> AsyncIterator[tuple[Bank, Poster, Gate]]:
    bank = await open_bank(url, customers=2)
    gate = Gate()
    store = tapped_store(url, SystemClock(), gate)
    poster = Poster(store)
    poster.start()
    try:
        yield bank, poster, gate
    finally:
        gate.opened.set()
        try:
            await poster.stop()
        except asyncio.CancelledError:
            await store.close()


def group(bank: Bank, name: str) -> Unit:
    """Three legs, all or none."""
    a, b = bank.customers
    legs = [Posting(a, b, 5, ASSET), Posting(b, a, 3, ASSET), Posting(a, b, 1, ASSET)]
    return named(name, legs, atomic=True)


async def test_a_client_that_leaves_at_any_step_leaves_a_whole_unit(database_url: str) -> None:
    replies: list[Reply] = []
    async with gated(database_url) as (bank, poster, gate):
        await poster.submit(group(bank, "first"))
        steps = list(gate.seen)
        phases = [(at, after) for at in range(len(steps)) for after in (False, True)]
        for at, after in phases:
            gate.shut(at, after_it=after)
            name = f"{at}{'after' if after else 'before'}"
            leaver = asyncio.create_task(poster.submit(group(bank, f"leaver {name}")))
            neighbour = asyncio.create_task(poster.submit(group(bank, f"neighbour {name}")))
            await gate.has_been_reached()
            queued = asyncio.create_task(poster.submit(group(bank, f"queued {name}")))
            await asyncio.sleep(0)
            leaver.cancel()
            queued.cancel()
            gate.opened.set()
            replies.append(reply_of(f"neighbour {name}", await neighbour))
            for left in (leaver, queued):
                with pytest.raises(asyncio.CancelledError):
                    await left
            for who in ("leaver", "queued"):
                again = await poster.submit(group(bank, f"{who} {name}"))
                assert again.replayed, "what was taken in was not posted"
                replies.append(reply_of(f"{who} {name}", again))
    transfers = await check_books(database_url, replies)
    assert transfers == 3 * (1 + 3 * len(phases)) + 2
    tell("left at a step", steps=steps, halved=of(0, 2 * len(phases)))


async def insist(poster: Poster, unit: Unit) -> UnitResult:
    """Ask again for as long as the queue is full."""
    while True:
        try:
            return await poster.submit(unit)
        except Overloaded:
            await asyncio.sleep(0.05)


@sizes(300, 20_000)
async def test_clients_that_leave_at_random_lose_and_double_nothing(
    database_url: str, size: int
) -> None:
    bank = await open_bank(database_url, customers=2)
    draw = random.Random(SEED)
    poster = Poster(open_store(database_url, SystemClock()))
    poster.start()
    left = 0
    replies: list[Reply] = []

    async def client(number: int) -> None:
        nonlocal left
        await asyncio.sleep(draw.uniform(0, size / 3_000))
        unit = group(bank, f"c{number}")
        try:
            async with asyncio.timeout(draw.uniform(0, 0.02)):
                replies.append(reply_of(f"c{number}", await poster.submit(unit)))
        except TimeoutError:
            left += 1
        except Overloaded:
            pass  # a slow machine; asked again below like the others
        replies.append(reply_of(f"c{number}", await insist(poster, unit)))

    await asyncio.gather(*[client(number) for number in range(size)])
    await poster.stop()
    transfers = await check_books(database_url, replies)
    assert transfers == 3 * size + 2
    tell("left at random", left=of(left, size), lost=of(0, size), doubled=of(0, size))
    assert left


async def test_stopping_finishes_what_is_queued_and_takes_in_nothing_more(
    database_url: str,
) -> None:
    bank = await open_bank(database_url, customers=2)
    poster = Poster(open_store(database_url, SystemClock()))
    poster.start()
    waiting = [asyncio.create_task(poster.submit(group(bank, f"q{i}"))) for i in range(500)]
    await asyncio.sleep(0)
    await poster.stop()
    assert all(task.done() for task in waiting)
    replies = [reply_of(f"q{i}", task.result()) for i, task in enumerate(waiting)]
    with pytest.raises(Unavailable):
        await poster.submit(group(bank, "too late"))
    assert await check_books(database_url, replies) == 3 * len(waiting) + 2
    tell("stopped", answered=of(len(replies), len(waiting)))


async def test_a_stop_that_is_given_up_still_answers_everybody(database_url: str) -> None:
    async with gated(database_url) as (bank, poster, gate):
        gate.shut(3)
        waiting = [asyncio.create_task(poster.submit(group(bank, f"q{i}"))) for i in range(3)]
        await gate.has_been_reached()
        waiting += [asyncio.create_task(poster.submit(group(bank, f"r{i}"))) for i in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await poster.stop()
        gate.opened.set()
        done, hanging = await asyncio.wait(waiting, timeout=LONG)
        for task in hanging:
            task.cancel()
    assert not hanging, f"{len(hanging)} of {len(waiting)} clients were never answered"
    outcomes = [task.exception() or task.result() for task in done]
    assert all(isinstance(found, UnitResult | Unavailable) for found in outcomes)


async def test_overload_is_refused_before_anything_is_queued(database_url: str) -> None:
    async with gated(database_url) as (bank, poster, gate):
        a, b = bank.customers
        big = [
            Unit([Posting(a, b, 1, ASSET, reference=f"big{n}/{i}") for i in range(MAX_BATCH)])
            for n in range(FILLING)
        ]
        gate.shut(0)
        waiting = [asyncio.create_task(poster.submit(group(bank, "first")))]
        await gate.has_been_reached()
        waiting += [asyncio.create_task(poster.submit(unit)) for unit in big]
        await asyncio.sleep(0)
        refused = 0
        for number in range(20):
            with pytest.raises(Overloaded):
                await poster.submit(group(bank, f"refused{number}"))
            refused += 1
        gate.opened.set()
        await asyncio.gather(*waiting)
    books = await read_books(database_url)
    stored = [t for t in books.transfers if t.reference and t.reference.startswith("refused")]
    assert not stored
    assert len(books.transfers) == FILLING * MAX_BATCH + 3 + 2
    tell("overloaded", refused=refused, queued_all_the_same=of(len(stored), refused))
