"""The poster's own logic, before a store that does as it is told.

What a store promises, the real ones keep in ``test_store_commands`` and its neighbours.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from guilder.core.errors import OutcomeUnknown, Overloaded, Unavailable
from guilder.domains.ledger import poster as poster_module
from guilder.domains.ledger.ports import Lost
from guilder.domains.ledger.poster import MAX_BATCH, Poster
from guilder.domains.ledger.rules.state import Posting, Result, Unit, UnitResult


class ToldStore:
    """A store that answers every unit with its label; ``before`` may raise, ``gate`` may wait."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.before: Callable[[list[str]], None] = lambda _labels: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def commit(self, units: list[Unit]) -> list[UnitResult]:
        labels = [unit.label for unit in units]
        self.batches.append(labels)
        await self.gate.wait()
        self.before(labels)
        return [UnitResult([Result("created", 1)], label) for label in labels]

    async def close(self) -> None:
        self.closed = True


class Watcher:
    def __init__(self) -> None:
        self.batches: list[int] = []
        self.queues: list[int] = []

    def batch(self, postings: int, seconds: float) -> None:
        assert seconds >= 0
        self.batches.append(postings)

    def queue(self, postings: int) -> None:
        self.queues.append(postings)


def unit(label: str, postings: int = 1) -> Unit:
    return Unit([Posting(1, 2, 1, "USD")] * postings, label=label)


@pytest.fixture
def store() -> ToldStore:
    return ToldStore()


@pytest.fixture
async def poster(store: ToldStore) -> AsyncIterator[Poster]:
    made = Poster(store)
    made.start()
    yield made
    store.gate.set()
    await made.stop()


async def submit_all(poster: Poster, *units: Unit) -> list[UnitResult | BaseException]:
    return await asyncio.gather(*map(poster.submit, units), return_exceptions=True)


async def settle() -> None:
    """Let everybody take their turns."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_idle_poster_posts_at_once(poster: Poster, store: ToldStore) -> None:
    for label in "abc":
        assert (await poster.submit(unit(label))).label == label
    assert store.batches == [["a"], ["b"], ["c"]]


async def test_a_busy_poster_takes_all_that_arrived_as_the_next_batch(
    poster: Poster, store: ToldStore
) -> None:
    store.gate.clear()
    first = asyncio.create_task(poster.submit(unit("a")))
    await settle()
    rest = asyncio.gather(*[poster.submit(unit(label)) for label in "bcd"])
    await settle()
    assert store.batches == [["a"]]  # one batch in flight, never two
    store.gate.set()
    assert [outcome.label for outcome in await rest] == ["b", "c", "d"]
    assert (await first).label == "a"
    assert store.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_ends_before_it_grows_too_large_and_never_splits_a_unit(
    poster: Poster, store: ToldStore
) -> None:
    half = MAX_BATCH // 2
    for some in (
        (unit("a", half), unit("b", half), unit("c")),
        (unit("d", MAX_BATCH + 5), unit("e"), unit("f", MAX_BATCH - 1)),
    ):
        outcomes = await submit_all(poster, *some)
        assert all(isinstance(outcome, UnitResult) for outcome in outcomes)
    assert store.batches == [["a", "b"], ["c"], ["d"], ["e", "f"]]


async def test_lost_work_is_run_again_whole(poster: Poster, store: ToldStore) -> None:
    def lose_twice(_labels: list[str]) -> None:
        if len(store.batches) <= 2:
            raise Lost("deadlock")

    store.before = lose_twice
    outcomes = await submit_all(poster, unit("a"), unit("b"))
    assert all(isinstance(outcome, UnitResult) for outcome in outcomes)
    assert store.batches == [["a", "b"]] * 3


async def test_work_that_is_always_lost_is_given_up_as_unavailable(
    poster: Poster, store: ToldStore
) -> None:
    def lose(_labels: list[str]) -> None:
        raise Lost("deadlock")

    store.before = lose
    one, other = await submit_all(poster, unit("a"), unit("b"))
    assert type(one) is type(other) is Unavailable
    assert store.batches == [["a", "b"]] * (1 + 3)  # once, and again at most three times
    store.before = lambda _labels: None
    assert (await poster.submit(unit("c"))).label == "c"


@pytest.mark.parametrize("refusal", [Unavailable(retry_after_seconds=9), OutcomeUnknown("Who?")])
async def test_a_store_that_is_away_refuses_everybody_each_with_a_refusal_of_their_own(
    poster: Poster, store: ToldStore, refusal: Unavailable
) -> None:
    def away(_labels: list[str]) -> None:
        raise refusal

    store.before = away
    one, other = await submit_all(poster, unit("a"), unit("b"))
    for told in (one, other):
        assert isinstance(told, Unavailable)
        assert type(told) is type(refusal)
        assert (told.detail, told.retry_after_seconds) == (
            refusal.detail, refusal.retry_after_seconds,
        )  # fmt: skip
    assert one is not other
    assert one is not refusal
    assert store.batches == [["a", "b"]]  # neither halved nor tried again


@pytest.mark.parametrize("bad", range(7))
async def test_a_bad_unit_is_found_by_halving_and_fails_alone(
    poster: Poster, store: ToldStore, bad: int
) -> None:
    names = "abcdefg"

    def refuse_bad(labels: list[str]) -> None:
        if names[bad] in labels:
            raise ZeroDivisionError(names[bad])

    store.before = refuse_bad
    outcomes = await submit_all(poster, *map(unit, names))
    assert [i for i, o in enumerate(outcomes) if isinstance(o, ZeroDivisionError)] == [bad]
    assert sum(isinstance(o, UnitResult) for o in outcomes) == 6
    # Nobody overtakes: those that were committed were committed in the order of their arrival.
    done = [label for batch in store.batches if names[bad] not in batch for label in batch]
    assert done == [name for name in names if name != names[bad]]


async def test_every_unit_may_be_bad(poster: Poster, store: ToldStore) -> None:
    def refuse(labels: list[str]) -> None:
        raise ZeroDivisionError(*labels)

    store.before = refuse
    outcomes = await submit_all(poster, *map(unit, "abcde"))
    assert [outcome.args for outcome in outcomes if isinstance(outcome, ZeroDivisionError)] == [
        (name,) for name in "abcde"
    ]


async def test_a_caller_who_goes_away_drops_a_future_and_never_the_batch(
    poster: Poster, store: ToldStore
) -> None:
    store.gate.clear()
    leaving, staying = (asyncio.create_task(poster.submit(unit(label))) for label in "ab")
    await settle()
    leaving.cancel()
    await settle()
    store.gate.set()
    assert (await staying).label == "b"
    assert store.batches == [["a", "b"]]
    assert leaving.cancelled()


@pytest.mark.parametrize("error", [Unavailable(), ZeroDivisionError()])
async def test_a_caller_who_went_away_does_not_hear_of_the_failure(
    poster: Poster, store: ToldStore, error: Exception
) -> None:
    def fail(_labels: list[str]) -> None:
        raise error

    store.gate.clear()
    leaving, staying = (asyncio.create_task(poster.submit(unit(label))) for label in "ab")
    await settle()
    leaving.cancel()
    await settle()
    store.before = fail
    store.gate.set()
    with pytest.raises(type(error)):
        await staying
    store.before = lambda _labels: None
    assert (await poster.submit(unit("c"))).label == "c"


async def test_a_full_queue_refuses_before_anything_is_taken_in(
    poster: Poster, store: ToldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poster_module, "MAX_QUEUE_SECONDS", 0.0)
    store.gate.clear()
    first = asyncio.create_task(poster.submit(unit("a")))
    await settle()
    always = poster_module.ALWAYS_QUEUED
    waiting = asyncio.create_task(poster.submit(unit("b", always + 1)))
    await settle()
    with pytest.raises(Overloaded) as refused:
        await poster.submit(unit("c"))
    assert refused.value.retry_after_seconds is not None
    store.gate.set()
    await asyncio.gather(first, waiting)
    assert store.batches == [["a"], ["b"]]
    assert (await poster.submit(unit("d"))).label == "d"  # there is room again


async def test_a_queue_that_is_worked_off_in_time_refuses_nobody(
    poster: Poster, store: ToldStore
) -> None:
    store.gate.clear()
    waiting = [asyncio.create_task(poster.submit(unit(f"{n}"))) for n in range(1_000)]
    await settle()
    store.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, UnitResult) for outcome in outcomes)


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
