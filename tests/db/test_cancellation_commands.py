"""The cancellation of a request never cancels a commit, and never does half of one."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from guilder.db.run import Done, Replayed
from guilder.db.unit_of_work import UnitOfWork
from tests.db.house import TELLER, House, Note, created, key, write_note
from tests.support.waiting import LONG


async def test_a_command_is_committed_though_its_caller_went_away(house: House) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(uow: UnitOfWork, cmd: Note) -> str:
        inside.set()
        await go_on.wait()
        return await write_note(uow, cmd)

    caller = asyncio.create_task(house.runner.run(slow, Note("x"), TELLER))
    await inside.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await house.notes() == []
    draining = asyncio.create_task(house.runner.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    go_on.set()
    await draining
    assert await house.notes() == ["x"]
    assert await house.phases() == [("attempted", None), ("succeeded", None)]


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, object]]]:
    """What the event loop finds wrong: errors that nobody took, callbacks that failed."""
    heard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: heard.append(told))
    yield heard
    gc.collect()
    assert heard == []


@pytest.mark.usefixtures("complaints")
async def test_a_command_that_fails_after_its_caller_went_away_is_audited(house: House) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(uow: UnitOfWork, cmd: Note) -> str:
        await write_note(uow, cmd)
        inside.set()
        await go_on.wait()
        raise ZeroDivisionError

    caller = asyncio.create_task(house.runner.run(slow, Note("x"), TELLER))
    await inside.wait()
    caller.cancel()
    go_on.set()
    await house.runner.drain()
    assert caller.cancelled()
    assert await house.notes() == []
    assert await house.phases() == [("attempted", None), ("failed", "internal_error")]


async def test_a_cancelled_command_is_whole_or_absent_whenever_the_cancellation_comes(
    house: House,
) -> None:
    for turns in range(60):
        caller = asyncio.create_task(
            house.runner.run_once(write_note, Note(f"n{turns}"), TELLER, key(f"k{turns}"), created)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    await house.runner.drain()
    notes = await house.notes()
    phases = [phase for phase, _ in await house.phases()]
    assert len(notes) == len(set(notes)) >= 55  # only one that was never begun is absent
    assert phases.count("attempted") == phases.count("succeeded") == len(notes)
    assert await house.kept_keys() == len(notes)
    for words in notes:
        again = await house.runner.run_once(
            write_note, Note("again"), TELLER, key(f"k{words[1:]}"), created
        )
        assert again == Replayed(created(words))


@pytest.mark.usefixtures("complaints")
async def test_a_command_cancelled_from_within_writes_nothing(house: House) -> None:
    async def give_up(uow: UnitOfWork, cmd: Note) -> str:
        await write_note(uow, cmd)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await house.runner.run(give_up, Note("x"), TELLER)
    await house.runner.drain()
    assert await house.notes() == []
    assert await house.phases() == [("attempted", None)]
    outcome = await house.runner.run_once(write_note, Note("y"), TELLER, key("a"), created)
    assert isinstance(outcome, Done)


async def test_draining_an_idle_runner_ends_at_once(house: House) -> None:
    await asyncio.wait_for(house.runner.drain(), LONG)
