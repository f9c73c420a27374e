"""Files of SQLite that are removed or replaced under a running process: nothing is committed."""

import logging
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from guilder.core.errors import Unavailable
from guilder.db import sqlite_files
from guilder.db.engine import sqlite_path
from guilder.db.sqlite_files import SUFFIXES, SqliteFiles
from tests.db.house import TELLER, House, Note, write_note
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import pay
from tests.support.bank import open_store
from tests.support.books import read_books

NOTE = Note("a note")


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    made = House(sqlite_url)
    await made.runner.run(write_note, NOTE, TELLER)
    yield made
    await made.database.close()


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The branch of these tests is on SQLite alone."""
    return sqlite_url


def files_of(url: str) -> list[Path]:
    return [Path(f"{sqlite_path(url)}{suffix}") for suffix in SUFFIXES]


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    """By a copy of itself: the bytes are the same, the file is another."""
    shutil.copyfile(path, f"{path}.copy")
    Path(f"{path}.copy").replace(path)


@pytest.mark.parametrize("harm", [removed, replaced])
@pytest.mark.parametrize("which", range(len(SUFFIXES)), ids=["database", "log", "index"])
async def test_no_command_commits_to_files_that_are_not_there(
    house: House, sqlite_url: str, which: int, harm: Callable[[Path], None]
) -> None:
    await house.database.ping()
    harm(files_of(sqlite_url)[which])
    with pytest.raises(Unavailable):
        await house.runner.run(write_note, NOTE, TELLER)
    with pytest.raises(Unavailable):
        await house.database.ping()


@pytest.mark.parametrize("harm", [removed, replaced])
@pytest.mark.parametrize("which", range(len(SUFFIXES)), ids=["database", "log", "index"])
async def test_no_transfer_is_acknowledged_that_files_do_not_hold(
    branch: Branch, which: int, harm: Callable[[Path], None]
) -> None:
    alice = await branch.open(5)
    harm(files_of(branch.url)[which])
    with pytest.raises(Unavailable):
        await branch.said(pay(branch.settlement, alice, 7))


async def test_files_that_are_put_back_are_written_again(
    branch: Branch, house: House, tmp_path: Path
) -> None:
    alice = await branch.open(5)
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in files_of(branch.url):
        path.rename(aside / path.name)
    with pytest.raises(Unavailable):
        await branch.said(pay(branch.settlement, alice, 7))
    with pytest.raises(Unavailable):
        await house.runner.run(write_note, NOTE, TELLER)
    for path in files_of(branch.url):
        (aside / path.name).rename(path)
    assert await branch.said(pay(branch.settlement, alice, 7)) == ["created"]
    await house.runner.run(write_note, NOTE, TELLER)
    assert await branch.posted(alice) == [12]
    assert (await read_books(branch.url)).transfers


async def test_a_connection_never_makes_a_database(branch: Branch, house: House) -> None:
    await branch.open(5)
    await branch.store.close()
    await branch.database.close()
    await house.database.close()
    branch.store = open_store(branch.url, branch.clock)
    for path in files_of(branch.url):
        path.unlink(missing_ok=True)
    other = House(branch.url)
    with pytest.raises(Unavailable):
        await other.database.ping()
    with pytest.raises(Unavailable):
        await other.runner.run(write_note, NOTE, TELLER)
    with pytest.raises(Unavailable):
        await branch.said()
    assert not files_of(branch.url)[0].exists()


async def test_all_connections_of_a_process_are_to_one_file(house: House, sqlite_url: str) -> None:
    """A connection that is made later does not take what somebody has put there meanwhile."""
    files = SqliteFiles(sqlite_path(sqlite_url))
    files.opened()
    replaced(files_of(sqlite_url)[0])
    with pytest.raises(Unavailable):
        files.opened()


async def test_the_log_says_which_file_is_gone_and_not_for_every_request(
    house: House, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = files_of(sqlite_url)[1]
    path.unlink()
    with caplog.at_level(logging.ERROR, sqlite_files.__name__):
        for _ in range(3):
            with pytest.raises(Unavailable):
                await house.runner.run(write_note, NOTE, TELLER)
    (line,) = caplog.records
    assert (line.getMessage(), vars(line)["fields"]) == (
        "not committed",
        {"cause": f"{path} was removed while we run", "file": str(path)},
    )
