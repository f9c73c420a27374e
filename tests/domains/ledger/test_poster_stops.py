"""How the poster stops, and what it tells those who watch it."""

import asyncio

import pytest

from guilder.core.errors import OutcomeUnknown, Unavailable
from guilder.domains.ledger.poster import MAX_BATCH, Poster
from tests.domains.ledger.told import ToldStore, settle, unit


class Watcher:
    def __init__(self) -> None:
        self.batches: list[int] = []
        self.queues: list[int] = []

    def batch(self, postings: int, seconds: float) -> None:
        assert seconds >= 0
        self.batches.append(postings)

    def queue(self, postings: int) -> None:
        self.queues.append(postings)


@pytest.fixture
def store() -> ToldStore:
    return ToldStore()


async def test_stopping_finishes_what_is_queued_and_takes_in_nothing_more(
    store: ToldStore,
) -> None:
    poster = Poster(store)
    poster.start()
    store.gate.clear()
    taken = asyncio.gather(*[poster.submit(unit(label)) for label in "ab"])
    await settle()
    queued = asyncio.create_task(poster.submit(unit("c")))
    await settle()
    stopping = asyncio.create_task(poster.stop())
    await settle()
    with pytest.raises(Unavailable):
        await poster.submit(unit("d"))
    assert not store.closed
    store.gate.set()
    await stopping
    assert [outcome.label for outcome in await taken] == ["a", "b"]
    assert (await queued).label == "c"
    assert store.closed


async def test_a_stop_that_is_given_up_leaves_nobody_waiting(store: ToldStore) -> None:
    poster = Poster(store)
    poster.start()
    store.gate.clear()
    posting = asyncio.create_task(poster.submit(unit("a")))
    await settle()
    queued = asyncio.create_task(poster.submit(unit("b")))
    await settle()
    stopping = asyncio.create_task(poster.stop())
    await settle()
    stopping.cancel()
    told = await asyncio.gather(posting, queued, stopping, return_exceptions=True)
    # Whether the first was committed is not known; the other was not even tried.
    assert [type(error) for error in told] == [
        OutcomeUnknown, Unavailable, asyncio.CancelledError,
    ]  # fmt: skip
    assert store.batches == [["a"]]
    with pytest.raises(Unavailable):
        await poster.submit(unit("c"))


async def test_a_poster_that_was_never_started_still_closes_its_store(store: ToldStore) -> None:
    await Poster(store).stop()
    assert store.closed


async def test_an_observer_is_told_of_batches_and_of_the_queue(store: ToldStore) -> None:
    watcher = Watcher()
    poster = Poster(store, watcher)
    poster.start()
    store.gate.clear()
    tasks = [asyncio.create_task(poster.submit(unit("a", 3)))]
    await settle()
    tasks += [asyncio.create_task(poster.submit(unit("b", n))) for n in (2, MAX_BATCH)]
    await settle()
    store.gate.set()
    await asyncio.gather(*tasks)
    await poster.stop()
    assert watcher.batches == [3, 2, MAX_BATCH]
    assert watcher.queues == [2 + MAX_BATCH, MAX_BATCH, 0]


async def test_a_poster_tells_how_long_its_batches_take_and_are_ago(store: ToldStore) -> None:
    poster = Poster(store)
    assert (poster.batch_seconds, poster.last_batch_seconds) == (0.0, None)
    poster.start()
    store.gate.clear()
    waiting = asyncio.create_task(poster.submit(unit("a")))
    await settle()
    assert poster.batch_seconds > 0
    store.gate.set()
    await waiting
    await poster.stop()
    assert poster.batch_seconds == 0.0
    assert poster.last_batch_seconds is not None
    assert poster.last_batch_seconds > 0


async def test_a_poster_is_alive_from_its_start_to_its_stop(store: ToldStore) -> None:
    poster = Poster(store)
    seen = [poster.alive]
    poster.start()
    seen.append(poster.alive)
    await poster.submit(unit("a"))
    seen.append(poster.alive)
    await poster.stop()
    assert [*seen, poster.alive] == [False, True, True, False]


async def test_an_observer_that_fails_does_not_stop_the_bank(
    store: ToldStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Watcher):
        def batch(self, postings: int, seconds: float) -> None:
            raise ZeroDivisionError

    poster = Poster(store, Broken())
    poster.start()
    for label in "ab":
        assert (await poster.submit(unit(label))).label == label
    await poster.stop()
    assert caplog.messages == ["the poster's observer failed"] * 2
