"""How the poster makes batches and answers for them, before a store that does as it is told.

What a store promises, the real ones keep in ``test_store_commands`` and its neighbours.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from guilder.core.errors import OutcomeUnknown, Overloaded, Unavailable
from guilder.domains.ledger import poster as poster_module
from guilder.domains.ledger.ports import NotCommitted
from guilder.domains.ledger.poster import MAX_BATCH, Poster
from guilder.domains.ledger.rules.state import UnitResult
from tests.domains.ledger.told import ToldStore, settle, submit_all, unit


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


async def test_what_arrives_while_a_batch_waits_for_its_turn_is_part_of_it(
    poster: Poster, store: ToldStore
) -> None:
    store.turn.clear()
    first = asyncio.create_task(poster.submit(unit("a")))
    await settle()
    rest = asyncio.gather(*[poster.submit(unit(label)) for label in "bc"])
    await settle()
    assert store.batches == []
    store.turn.set()
    assert [outcome.label for outcome in [await first, *await rest]] == ["a", "b", "c"]
    assert store.batches == [["a", "b", "c"]]


@pytest.mark.parametrize(
    ("first", "later", "batches"),
    [
        (MAX_BATCH - 1, (1, 1), [["a", "b"], ["c"]]),
        (MAX_BATCH, (1, 1), [["a"], ["b", "c"]]),
        (MAX_BATCH + 5, (1, 1), [["a"], ["b", "c"]]),
        (1, (MAX_BATCH, 1), [["a"], ["b"], ["c"]]),  # nobody overtakes
        (1, (MAX_BATCH - 2, 1), [["a", "b", "c"]]),
    ],
)
async def test_a_batch_that_waits_for_its_turn_grows_no_further_than_any_other(
    poster: Poster, store: ToldStore, first: int, later: tuple[int, int], batches: list[list[str]]
) -> None:
    store.turn.clear()
    tasks = [asyncio.create_task(poster.submit(unit("a", first)))]
    await settle()
    for label, postings in zip("bc", later, strict=True):
        tasks.append(asyncio.create_task(poster.submit(unit(label, postings))))
    await settle()
    store.turn.set()
    assert [outcome.label for outcome in await asyncio.gather(*tasks)] == ["a", "b", "c"]
    assert store.batches == batches


async def test_what_joined_a_batch_shares_its_fate(poster: Poster, store: ToldStore) -> None:
    def fail(labels: list[str]) -> None:
        if len(store.batches) == 1:
            raise NotCommitted("deadlock")
        if "b" in labels:
            raise ZeroDivisionError(*labels)

    store.before = fail
    store.turn.clear()
    tasks = [asyncio.create_task(poster.submit(unit("a")))]
    await settle()
    tasks += [asyncio.create_task(poster.submit(unit(label))) for label in "bc"]
    await settle()
    store.turn.set()
    a, b, c = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(a, UnitResult)
    assert isinstance(b, ZeroDivisionError)
    assert isinstance(c, UnitResult)
    assert store.batches == [["a", "b", "c"], ["a", "b", "c"], ["a"], ["b", "c"], ["b"], ["c"]]


async def test_nobody_joins_a_batch_that_is_being_halved(poster: Poster, store: ToldStore) -> None:
    def fail(labels: list[str]) -> None:
        if "b" in labels:
            store.turn.clear()  # the halves wait, and meanwhile others come
            raise ZeroDivisionError

    store.before = fail
    tasks = [asyncio.create_task(poster.submit(unit(label))) for label in "ab"]
    await settle()
    tasks.append(asyncio.create_task(poster.submit(unit("c"))))
    for _ in range(3):
        store.turn.set()
        await settle()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert store.batches == [["a", "b"], ["a"], ["b"], ["c"]]


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
            raise NotCommitted("deadlock")

    store.before = lose_twice
    outcomes = await submit_all(poster, unit("a"), unit("b"))
    assert all(isinstance(outcome, UnitResult) for outcome in outcomes)
    assert store.batches == [["a", "b"]] * 3


async def test_work_that_is_always_lost_is_given_up_as_unavailable(
    poster: Poster, store: ToldStore
) -> None:
    def lose(_labels: list[str]) -> None:
        raise NotCommitted("deadlock")

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


async def test_who_waits_too_long_for_a_batch_is_told_that_nothing_was_done(
    store: ToldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poster_module, "QUEUED_SECONDS", 0.02)
    store.gate.clear()
    poster = Poster(store)
    poster.start()
    first = asyncio.create_task(poster.submit(unit("a")))
    await settle()
    for label in "bc":
        with pytest.raises(Unavailable):
            await poster.submit(unit(label))
    store.gate.set()
    assert (await first).label == "a"  # the batch in flight is never given up
    await poster.stop()
    assert store.batches == [["a"]]


async def test_a_queue_that_is_worked_off_in_time_refuses_nobody(
    poster: Poster, store: ToldStore
) -> None:
    store.gate.clear()
    waiting = [asyncio.create_task(poster.submit(unit(f"{n}"))) for n in range(1_000)]
    await settle()
    store.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, UnitResult) for outcome in outcomes)
