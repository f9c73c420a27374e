"""Failures of a file and its disk: busy, full, and a commit that did or did not take."""

import functools
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from guilder.core.errors import OutcomeUnknown, Unavailable
from guilder.db import engine
from guilder.domains.ledger.ports import NotCommitted
from tests.db import owner
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import pay
from tests.support.bank import open_store
from tests.support.books import problems, read_books


class Disk:
    """A driver under which the disk fails when told: ``plan`` maps a statement to an accident."""

    plan: ClassVar[dict[str, Callable[[Callable[[], Any]], Any]]] = {}

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *values: Any) -> Any:
            accident = Disk.plan.get(sql)
            if accident is None:
                return super().execute(sql, *values)
            return accident(functools.partial(super().execute, sql, *values))

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(Disk.Cursor)


def broken(message: str = "disk I/O error") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


def fails(_statement: Callable[[], Any]) -> Any:
    raise broken()


def takes_and_fails(statement: Callable[[], Any]) -> Any:
    """As measured with an I/O error injected into fsync: an error is told and the row is there."""
    statement()
    raise broken()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Disk]]:
    connect = functools.partial(sqlite3.connect, factory=Disk.Connection)
    monkeypatch.setattr(sqlite3, "connect", connect)
    yield Disk
    Disk.plan = {}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The branch of these tests is on SQLite alone."""
    return sqlite_url


async def sound(branch: Branch) -> bool:
    return problems(await read_books(branch.url)) == []


async def test_a_file_that_is_busy_loses_the_batch(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await branch.open()
    await branch.store.close()
    monkeypatch.setitem(engine._DURABLE, "busy_timeout", 20)
    branch.store = open_store(branch.url, branch.clock)
    rival = sqlite3.connect(engine.sqlite_path(branch.url), isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotCommitted, match="locked"):
        await branch.said(pay(branch.settlement, alice, 5))
    rival.execute("ROLLBACK")
    rival.close()
    assert await branch.said(pay(branch.settlement, alice, 5)) == ["created"]


async def test_a_full_disk_is_unavailable_and_writes_nothing(branch: Branch) -> None:
    alice = await branch.open(5)
    before = await read_books(branch.url)
    await branch.store.close()
    branch.store = open_store(branch.url, branch.clock)
    assert await branch.said(pay(alice, 99, 5)) == ["account_not_found"]
    # The file may grow no further, as when the disk is full.
    connection = branch.store._connection  # type: ignore[attr-defined] # the store's own
    ((pages,),) = await owner.rows(branch.url, "PRAGMA page_count")
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable):
        await branch.said(*[pay(branch.settlement, alice, 1, description="x" * 500)] * 500)
    assert await read_books(branch.url) == before
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await branch.said(pay(branch.settlement, alice, 5)) == ["created"]


async def test_a_commit_that_did_not_take_is_unavailable_and_nothing_is_there(
    branch: Branch,
) -> None:
    alice = await branch.open(5)
    before = await read_books(branch.url)
    await owner.execute(
        branch.url,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT",
        "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT",
        "CREATE TRIGGER orphan AFTER INSERT ON ledger_batches BEGIN "
        "INSERT INTO child VALUES (1); END",
    )  # the very COMMIT is what fails
    with pytest.raises(Unavailable) as refused:
        await branch.said(pay(branch.settlement, alice, 5))
    assert not isinstance(refused.value, OutcomeUnknown)
    assert await read_books(branch.url) == before
    await owner.execute(branch.url, "DROP TRIGGER orphan")
    assert await branch.said(pay(branch.settlement, alice, 5)) == ["created"]


@pytest.mark.usefixtures("disk")
async def test_a_commit_that_took_though_an_error_was_told_is_a_success(branch: Branch) -> None:
    alice = await branch.open(5)
    Disk.plan = {"COMMIT": takes_and_fails}
    (result,) = await branch.post(pay(branch.settlement, alice, 7))
    Disk.plan = {}
    assert (result.status, result.credit_after) == ("created", 12)
    assert await branch.posted(alice) == [12]
    assert await sound(branch)


@pytest.mark.usefixtures("disk")
async def test_a_failed_commit_of_a_batch_that_wrote_nothing_is_still_an_answer(
    branch: Branch,
) -> None:
    alice = await branch.open(5)
    Disk.plan = {"COMMIT": fails}
    assert await branch.said(pay(alice, 99, 1)) == ["account_not_found"]


@pytest.mark.usefixtures("disk")
async def test_the_outcome_is_unknown_when_the_file_cannot_be_read_again(branch: Branch) -> None:
    alice = await branch.open(5)
    Disk.plan = {"COMMIT": takes_and_fails, "PRAGMA journal_mode=wal": fails}
    with pytest.raises(OutcomeUnknown):
        await branch.said(pay(branch.settlement, alice, 7, key=b"k" * 16, fingerprint=b"f"))
    Disk.plan = {}
    # The retry with the same key tells the truth.
    assert await branch.said(pay(branch.settlement, alice, 7, key=b"k" * 16, fingerprint=b"f")) == [
        "replayed"
    ]
    assert await branch.posted(alice) == [12]


@pytest.mark.usefixtures("disk")
async def test_a_rollback_that_fails_costs_the_connection_and_not_the_books(
    branch: Branch,
) -> None:
    alice = await branch.open(5)
    bad = replace(pay(branch.settlement, alice, 1), value_on="some day")  # type: ignore[arg-type]
    Disk.plan = {"ROLLBACK": fails}
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT value in INTEGER"):
        await branch.said(bad)
    Disk.plan = {}
    assert await branch.said(pay(branch.settlement, alice, 1)) == ["created"]
    assert await branch.posted(alice) == [6]
    assert await sound(branch)
