"""The queue of those who write to one SQLite database: turns alternate, nobody waits for ever."""

import asyncio
import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.db import engine, write_queue
from guilder.db.engine import Database, sqlite_files, sqlite_path
from guilder.db.write_queue import QUEUE_SUFFIXES, WriteQueue
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.store.sqlite import SqliteStore
from tests.db.house import TELLER, House, Note, write_note
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import pay
from tests.support.bank import named, open_store
from tests.support.waiting import LONG, until

NOTE = Note("a note")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The branch of these tests is on SQLite alone."""
    return sqlite_url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "bank.db").touch()
    return tmp_path / "bank.db"


@contextmanager
def queues(file: Path, count: int) -> Iterator[list[WriteQueue]]:
    made = [WriteQueue(file) for _ in range(count)]
    yield made
    for one in made:
        one.close()


def looks(waiting: Iterator[None]) -> bool:
    """One look of somebody who waits; tells whether the waiting has ended."""
    return next(waiting, waiting) is waiting


def nobody_waits(file: Path) -> bool:
    with queues(file, 1) as (look,):
        return write_queue._locked(look._opened()[0])


def lock_files(url: str) -> list[Path]:
    return [Path(f"{sqlite_path(url)}{suffix}") for suffix in QUEUE_SUFFIXES]


def test_who_comes_back_is_behind_who_waits(file: Path) -> None:
    """The turn passes on between any two of one who would always be quicker."""
    with queues(file, 2) as (quick, slow):
        for _ in range(3):
            assert quick.enter()
            waiting = slow._looks()
            assert not looks(waiting)
            quick.leave()
            assert not quick.enter()
            assert looks(waiting)
            assert not quick.enter()
            slow.leave()
        assert quick.enter()


def test_who_waits_first_is_next(file: Path) -> None:
    with queues(file, 3) as (inside, first, second):
        assert inside.enter()
        waits_first, waits_second = first._looks(), second._looks()
        assert not looks(waits_first)
        assert not looks(waits_second)
        inside.leave()
        assert not looks(waits_second)
        assert looks(waits_first)
        assert not inside.enter()
        assert not looks(waits_second)
        first.leave()
        assert looks(waits_second)


async def test_who_gives_up_waiting_leaves_the_queue(file: Path) -> None:
    with queues(file, 3) as (inside, impatient, other):
        assert inside.enter()
        task = asyncio.create_task(impatient.turn().__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        inside.leave()
        assert other.enter()


def test_who_stands_still_at_the_front_is_waited_for_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "IN_QUEUE_SECONDS", 0.01)
    with queues(file, 2) as (stopped, other):
        assert stopped.enter()
        assert list(other._looks())
        assert nobody_waits(file)
        assert not list(other._looks())
        stopped.leave()
        assert other.enter()


def test_where_no_file_can_be_locked_nobody_waits(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with queues(file, 2) as (one, other):
        assert one.enter()
        assert other.enter()


async def test_where_the_files_cannot_be_made_everything_works_and_that_is_told(
    branch: Branch, caplog: pytest.LogCaptureFixture
) -> None:
    for path in lock_files(branch.url):
        path.unlink(missing_ok=True)
        path.mkdir()
    house = House(branch.url)
    with caplog.at_level(logging.WARNING, write_queue.__name__):
        await house.runner.run(write_note, NOTE, TELLER)
        await house.runner.run(write_note, NOTE, TELLER)
    await house.database.close()
    assert [record.message for record in caplog.records] == ["writers do not queue"]
    await branch.store.close()
    branch.store = open_store(branch.url, branch.clock)
    assert await branch.open(5)


async def test_files_that_are_removed_meanwhile_do_no_harm(branch: Branch) -> None:
    alice = await branch.open(5)
    for path in lock_files(branch.url):
        path.unlink()
    assert await branch.open(5) != alice
    other = House(branch.url)
    await other.runner.run(write_note, NOTE, TELLER)
    await other.database.close()
    assert await branch.said(pay(branch.settlement, alice, 5)) == ["created"]


async def test_the_files_count_among_the_databases_and_are_for_its_owner_alone(
    branch: Branch,
) -> None:
    assert set(lock_files(branch.url)) <= set(sqlite_files(branch.url))
    assert {oct(path.stat().st_mode & 0o777) for path in lock_files(branch.url)} == {"0o600"}


async def test_no_file_is_made_beside_a_database_that_is_not_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none.db"
    database = Database(url)
    store = SqliteStore(url, SystemClock())
    with pytest.raises(Unavailable):
        async with database.begin():
            pass
    with pytest.raises(Unavailable):
        await store.commit([])
    await store.close()
    await database.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_batch_is_filled_when_its_turn_has_come(branch: Branch) -> None:
    """The longer it waits, the more it holds, as on PostgreSQL."""
    alice = await branch.open(5)
    units = [named("first", [pay(branch.settlement, alice, 1)])]
    later = named("later", [pay(branch.settlement, alice, 2)])
    with queues(sqlite_path(branch.url), 1) as (other,):
        assert other.enter()
        commit = asyncio.create_task(branch.store.commit(units, lambda: units.append(later)))
        await until(lambda: not nobody_waits(sqlite_path(branch.url)))
        other.leave()
        results = await commit
    assert [unit.results[0].status for unit in results] == ["created", "created"]
    assert await branch.posted(alice) == [8]


async def test_a_poster_that_is_given_up_while_it_waits_leaves_the_queue(branch: Branch) -> None:
    alice = await branch.open(5)
    with queues(sqlite_path(branch.url), 2) as (other, third):
        assert other.enter()
        unit = named("given up", [pay(branch.settlement, alice, 1)])
        commit = asyncio.create_task(branch.store.commit([unit]))
        await until(lambda: not nobody_waits(sqlite_path(branch.url)))
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
        other.leave()
        await until(third.enter)
    assert await branch.posted(alice) == [5]


@contextmanager
def standing(url: str, where: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that stays where it is in the queue."""
    command = [sys.executable, "-m", "tests.support.writer", str(sqlite_path(url)), where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline().strip() == where
            yield other
        finally:
            other.kill()


@pytest.mark.heavy
@pytest.mark.parametrize("where", ["first", "inside"])
async def test_a_process_that_is_killed_holds_nobody_up(branch: Branch, where: str) -> None:
    alice = await branch.open(5)
    with queues(sqlite_path(branch.url), 1) as (inside,):
        if where == "first":
            assert inside.enter()
        with standing(branch.url, where) as other:
            waiting = threading.Thread(target=inside.wait)
            if where == "inside":
                waiting.start()
            other.kill()
            other.wait(LONG)
            if where == "inside":
                waiting.join(LONG)
            inside.leave()
    assert await branch.said(pay(branch.settlement, alice, 7)) == ["created"]


@pytest.mark.heavy
@pytest.mark.parametrize("where", ["first", "inside"])
async def test_a_process_that_is_stopped_holds_nobody_up_without_end(
    branch: Branch, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers go past one that was stopped in the queue; in its transaction, they are refused."""
    alice = await branch.open(5)
    monkeypatch.setattr(write_queue, "IN_QUEUE_SECONDS", 0.1)
    monkeypatch.setitem(engine._DURABLE, "busy_timeout", 20)
    poster = Poster(SqliteStore(branch.url, SystemClock()))
    poster.start()
    house = House(branch.url)
    with queues(sqlite_path(branch.url), 1) as (inside,):
        if where == "first":
            assert inside.enter()
        with standing(branch.url, where) as other:
            os.kill(other.pid, signal.SIGSTOP)
            inside.leave()
            unit = named("stopped", [pay(branch.settlement, alice, 7)])
            async with asyncio.timeout(LONG):
                if where == "first":
                    assert (await poster.submit(unit)).results[0].status == "created"
                    await house.runner.run(write_note, NOTE, TELLER)
                else:
                    with pytest.raises(Unavailable):
                        await poster.submit(unit)
                    with pytest.raises(Unavailable):
                        await house.runner.run(write_note, NOTE, TELLER)
    assert (await poster.submit(unit)).results[0].number
    await house.runner.run(write_note, NOTE, TELLER)
    await house.database.close()
    await poster.stop()
