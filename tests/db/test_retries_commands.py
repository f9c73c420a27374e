"""A command that meets a deadlock or a busy database runs again, whole, and not for ever."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from guilder.core.errors import Unavailable
from guilder.db import engine
from guilder.db.run import COMMAND_ATTEMPTS
from guilder.db.unit_of_work import UnitOfWork
from tests.db import owner
from tests.db.house import TELLER, House, Note, created, key, write_note

TOUCH = text("UPDATE identity_failures SET in_a_row = in_a_row WHERE key = :key")


class Rival:
    """Another process's open write on an SQLite file: begins and ends when told."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(
            engine.sqlite_path(url), isolation_level=None, check_same_thread=False
        )

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


def before_each_begin(house: House, acts: dict[int, Callable[[], None]]) -> list[int]:
    """Act just before the first, second, third ... write of the house begins; gives their count."""
    begun: list[int] = []

    def checkout(*_: Any) -> None:
        begun.append(len(begun) + 1)
        if begun[-1] in acts:
            acts[begun[-1]]()

    event.listen(house.database.writer.sync_engine, "checkout", checkout)
    return begun


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite waits a moment for a lock, not a quarter of a minute."""
    monkeypatch.setitem(engine._DURABLE, "busy_timeout", 30)


@pytest.mark.usefixtures("impatient")
async def test_a_command_runs_again_when_sqlite_is_busy(sqlite_url: str) -> None:
    house, rival = House(sqlite_url), Rival(sqlite_url)
    # 1 is the row of the attempt, 2 and 3 the command's own tries.
    before_each_begin(house, {2: rival.begin, 4: rival.end})
    assert await house.runner.run(write_note, Note("x"), TELLER) == "x"
    assert await house.notes() == ["x"]
    assert await house.phases() == [("attempted", None), ("succeeded", None)]
    rival.close()
    await house.database.close()


@pytest.mark.usefixtures("impatient")
async def test_a_command_gives_up_as_unavailable_when_sqlite_stays_busy(sqlite_url: str) -> None:
    house, rival = House(sqlite_url), Rival(sqlite_url)
    # The last write is the row of the failure.
    begun = before_each_begin(house, {2: rival.begin, 2 + COMMAND_ATTEMPTS: rival.end})
    with pytest.raises(Unavailable):
        await house.runner.run(write_note, Note("x"), TELLER)
    assert len(begun) == 2 + COMMAND_ATTEMPTS
    assert await house.notes() == []
    assert await house.phases() == [("attempted", None), ("failed", "unavailable")]
    rival.close()
    await house.database.close()


@pytest.mark.usefixtures("impatient")
async def test_a_command_does_not_begin_when_its_attempt_meets_a_busy_database(
    sqlite_url: str,
) -> None:
    house, rival = House(sqlite_url), Rival(sqlite_url)
    rival.begin()
    with pytest.raises(Unavailable):
        await house.runner.run(write_note, Note("x"), TELLER)
    rival.end()
    assert await house.phases() == []
    rival.close()
    await house.database.close()


async def test_two_commands_that_deadlock_both_succeed(postgres_url: str) -> None:
    house = House(postgres_url)
    await two_keys(house)
    met = asyncio.Barrier(2)
    tries: list[str] = []

    async def cross(uow: UnitOfWork, cmd: Note) -> None:
        tries.append(cmd.words)
        first, second = sorted((b"a", b"b"), reverse=cmd.words == "down")
        await uow.execute(TOUCH, {"key": first})
        if len(tries) <= 2:
            await met.wait()
        await uow.execute(TOUCH, {"key": second})
        await write_note(uow, cmd)

    await asyncio.gather(
        house.runner.run(cross, Note("up"), TELLER), house.runner.run(cross, Note("down"), TELLER)
    )
    assert len(tries) == 3  # one of them was the victim once
    assert sorted(await house.notes()) == ["down", "up"]
    assert (
        sorted(phase for phase, _ in await house.phases()) == ["attempted"] * 2 + ["succeeded"] * 2
    )
    await house.database.close()


async def test_a_row_locked_by_another_is_tried_again_and_then_given_up(
    postgres_url: str,
) -> None:
    house = House(postgres_url)
    await two_keys(house)
    tries = []

    async def impatient(uow: UnitOfWork, cmd: Note) -> None:
        tries.append(cmd)
        await write_note(uow, cmd)
        await uow.first(text("SELECT 1 FROM identity_failures FOR UPDATE NOWAIT"))

    async with house.database.begin() as rival:
        await rival.execute(TOUCH, {"key": b"a"})
        with pytest.raises(Unavailable):
            await house.runner.run_once(
                impatient, Note("x"), TELLER, key("k"), lambda _: created("x")
            )
    assert len(tries) == COMMAND_ATTEMPTS
    assert await house.notes() == []
    assert await house.kept_keys() == 0
    assert await house.phases() == [("attempted", None), ("failed", "unavailable")]
    await house.database.close()


async def two_keys(house: House) -> None:
    await owner.execute(
        house.url,
        "INSERT INTO identity_failures (key, in_a_row, last_at, locked_until) "
        "VALUES ('a', 0, 0, 0), ('b', 0, 0, 0)",
    )
