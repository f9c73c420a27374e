"""One key, one effect: replays, conflicts, and two requests with a key at once."""

import asyncio

import pytest

from guilder.core.errors import Conflict, IdempotencyConflict, IdempotencyInProgress, NotFound
from guilder.db.idempotency import Answer, Key, digest
from guilder.db.run import Done, Replayed
from guilder.db.unit_of_work import UnitOfWork
from tests.db.house import TELLER, House, Note, created, key, write_note


async def post(house: House, words: str, with_key: Key) -> Done[str] | Replayed:
    return await house.runner.run_once(write_note, Note(words), TELLER, with_key, created)


async def test_another_request_under_the_same_key_is_refused(house: House) -> None:
    await post(house, "x", key("a", "x"))
    with pytest.raises(IdempotencyConflict) as refused:
        await post(house, "y", key("a", "y"))
    assert refused.value.code == "idempotency_conflict"
    assert await house.notes() == ["x"]
    assert (await house.phases())[-1] == ("failed", "idempotency_conflict")


async def test_the_same_request_is_answered_from_what_was_said_first(house: House) -> None:
    first = await post(house, "x", key("a"))
    house.clock.advance(days=400)
    again = await post(house, "another value would be made now", key("a"))
    assert first == Done("x", Answer(201, b"x"))
    assert again == Replayed(Answer(201, b"x"))
    assert await house.notes() == ["x"]
    assert [phase for phase, _ in await house.phases()] == ["attempted", "succeeded"] * 2
    assert (await house.audit())[-1].subject is None


async def test_a_refused_command_does_not_burn_its_key(house: House) -> None:
    closed = True

    async def when_open(uow: UnitOfWork, cmd: Note) -> str:
        if closed:
            raise Conflict("Closed today.")
        return await write_note(uow, cmd)

    for _ in range(2):
        with pytest.raises(Conflict):
            await house.runner.run_once(when_open, Note("x"), TELLER, key("a"), created)
    assert await house.kept_keys() == 0
    closed = False
    outcome = await house.runner.run_once(when_open, Note("x"), TELLER, key("a"), created)
    assert isinstance(outcome, Done)


async def test_a_crashed_command_does_not_burn_its_key(house: House) -> None:
    async def crash(uow: UnitOfWork, cmd: Note) -> str:
        await write_note(uow, cmd)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await house.runner.run_once(crash, Note("x"), TELLER, key("a"), created)
    assert isinstance(await post(house, "x", key("a")), Done)


async def test_a_command_without_a_key_keeps_nothing(house: House) -> None:
    for _ in range(2):
        await house.runner.run(write_note, Note("x"), TELLER)
    assert await house.notes() == ["x", "x"]
    assert await house.kept_keys() == 0


async def test_a_key_in_use_is_refused_as_in_progress(postgres_url: str) -> None:
    house, neighbour = House(postgres_url), House(postgres_url)
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(uow: UnitOfWork, cmd: Note) -> str:
        inside.set()
        await go_on.wait()
        return await write_note(uow, cmd)

    first = asyncio.create_task(house.runner.run_once(slow, Note("x"), TELLER, key("a"), created))
    await inside.wait()
    with pytest.raises(IdempotencyInProgress) as refused:
        await post(neighbour, "x", key("a"))
    assert refused.value.retry_after_seconds == 1
    assert isinstance(await post(neighbour, "other", key("b")), Done)  # other keys go on
    go_on.set()
    assert isinstance(await first, Done)
    assert isinstance(await post(neighbour, "x", key("a")), Replayed)
    assert sorted(await house.notes()) == ["other", "x"]
    for made in (house, neighbour):
        await made.database.close()


async def test_a_storm_of_one_key_over_two_processes_has_one_effect(
    house: House, neighbour: House
) -> None:
    outcomes = await asyncio.gather(
        *[post(made, "x", key("a")) for made in [house, neighbour] * 6], return_exceptions=True
    )
    done = [o for o in outcomes if isinstance(o, Done)]
    busy = [o for o in outcomes if isinstance(o, IdempotencyInProgress)]
    replayed = [o for o in outcomes if o == Replayed(Answer(201, b"x"))]
    assert len(done) == 1
    assert len(done) + len(busy) + len(replayed) == 12
    assert not (house.sqlite and busy)  # one writer at a time: nobody is ever in progress
    assert await house.notes() == ["x"]


async def test_a_key_may_be_tried_again_after_any_refusal(house: House) -> None:
    async def refuse(_uow: UnitOfWork, _cmd: Note) -> str:
        raise NotFound

    outcomes = await asyncio.gather(
        *[house.runner.run_once(refuse, Note("x"), TELLER, key("a"), created) for _ in range(3)],
        return_exceptions=True,
    )
    assert all(isinstance(o, NotFound | IdempotencyInProgress) for o in outcomes)
    assert isinstance(await post(house, "x", key("a")), Done)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", ""), ("", "a")),
        (("a",), ("a", "")),
        ((), ("",)),
        (("a\x00\x00\x00\x01b",), ("a", "b")),
    ],
)
def test_digests_differ_when_the_parts_join_to_the_same_text(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert digest(*one) != digest(*other)
    assert digest(*one) == digest(*[part.encode() for part in one])
    assert len(digest(*one)) == 16
