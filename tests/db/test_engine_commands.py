"""Connections: durable settings proven, views that cannot write, a database that is away."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError

from guilder.core.errors import NotFound, Unavailable
from guilder.db import engine
from guilder.db.engine import (
    BUSY_TIMEOUT_MS,
    Database,
    RetryTransaction,
    UnsafeDatabase,
    check_sqlite_library,
    is_transient,
    prepare_sqlite,
    sqlite_path,
    translated,
)
from guilder.db.outbox import insert_event
from guilder.db.unit_of_work import UnitOfWork
from tests.db.house import START, TELLER, House, Note, Noted, write_note


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 51, 2)])
def test_a_library_that_can_corrupt_a_wal_is_refused(version: tuple[int, ...]) -> None:
    with pytest.raises(UnsafeDatabase, match=r"3\.51\.3 or newer"):
        check_sqlite_library(version)


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_a_repaired_library_is_taken(version: tuple[int, ...]) -> None:
    check_sqlite_library(version)


def test_the_library_in_use_is_a_repaired_one() -> None:
    check_sqlite_library()
    assert sqlite3.sqlite_version_info >= (3, 51, 3)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_address_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="needs a file"):
        sqlite_path(url)
    with pytest.raises(ValueError, match="needs a file"):
        Database(url)


def test_a_connection_is_refused_when_a_setting_does_not_take() -> None:
    connection = sqlite3.connect(":memory:")  # has no write-ahead log
    with pytest.raises(UnsafeDatabase, match="journal_mode is 'memory', 'wal' is needed"):
        prepare_sqlite(connection.cursor())
    connection.close()


async def test_both_sqlite_engines_are_durable_and_say_so(sqlite_url: str) -> None:
    house = House(sqlite_url)
    wanted = {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1,
        "busy_timeout": BUSY_TIMEOUT_MS, "wal_autocheckpoint": 32_000,
    }  # fmt: skip
    for database_engine, query_only in ((house.database.writer, 0), (house.database.reader, 1)):
        async with database_engine.connect() as connection:
            for name, value in (wanted | {"query_only": query_only}).items():
                assert await connection.scalar(text(f"PRAGMA {name}")) == value
    await house.database.close()


async def test_postgres_sessions_run_as_the_application_role(postgres_url: str) -> None:
    house = House(postgres_url)
    async with house.database.begin() as connection:
        settings = {
            name: await connection.scalar(text(f"SHOW {name}"))
            for name in ("role", "transaction_isolation", "idle_in_transaction_session_timeout")
        }
        role = await connection.scalar(text("SELECT current_user"))
        assert role.startswith("guilder_app_")
    assert settings == {
        "role": role,
        "transaction_isolation": "read committed",
        "idle_in_transaction_session_timeout": "10s",
    }
    await house.database.close()


async def test_a_view_cannot_write(house: House) -> None:
    async def sneak(view: Any) -> None:
        await view.first(insert_event(Noted("sneaked"), START).returning(text("id")))

    with pytest.raises(DBAPIError, match=r"read-?only"):
        await house.runner.view(sneak)
    assert await house.notes() == []
    await house.runner.run(write_note, Note("the same connection writes again"), TELLER)
    assert len(await house.notes()) == 1


async def test_a_refusal_passes_through_a_view_as_it_is(house: House) -> None:
    async def refuse(_view: object) -> None:
        raise NotFound("No.")

    with pytest.raises(NotFound) as refused:
        await house.runner.view(refuse)
    assert refused.value.__cause__ is None


async def test_a_defect_in_a_query_is_not_called_unavailable(house: House) -> None:
    with pytest.raises(SQLAlchemyError) as raised:
        await house.runner.view(lambda view: view.all(text("SELECT * FROM no_such_table")))
    assert raised.value.__cause__ is not raised.value

    async def broken(uow: UnitOfWork, _cmd: Note) -> None:
        await uow.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises(SQLAlchemyError):
        await house.runner.run(broken, Note("x"), TELLER)
    assert await house.phases() == [("attempted", None), ("failed", "internal_error")]


async def test_an_error_names_the_statement_and_never_what_was_stored(house: House) -> None:
    async def broken(uow: UnitOfWork, cmd: Note) -> None:
        await uow.execute(text("INSERT INTO no_such_table VALUES (:words)"), {"words": cmd.words})

    with pytest.raises(SQLAlchemyError, match="no_such_table") as raised:
        await house.runner.run(broken, Note("secret words"), TELLER)
    assert "secret words" not in str(raised.value)


async def test_a_database_answers_a_ping(house: House) -> None:
    await house.database.ping()


async def assert_unavailable_within_seconds(url: str) -> None:
    before = set(threading.enumerate())
    house = House(url)
    began = time.monotonic()
    told = await asyncio.gather(
        house.database.ping(),
        house.runner.view(lambda view: view.all(text("SELECT 1"))),
        house.runner.run(write_note, Note("x"), TELLER),
        return_exceptions=True,
    )
    assert time.monotonic() - began < 10  # what waits for the driver waits longer
    for refused in told:
        assert isinstance(refused, Unavailable)
        assert refused.retry_after_seconds == 1
    await house.database.close()
    # The driver's threads of connections that failed report to the loop before it may close.
    while any("connection_worker" in thread.name for thread in set(threading.enumerate()) - before):
        await asyncio.sleep(0.001)


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    await assert_unavailable_within_seconds(f"sqlite:///{tmp_path}/folder.db")


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    await assert_unavailable_within_seconds(f"postgresql://u:@/d?host={tmp_path}")


@pytest.fixture
async def silent_server(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a server that takes connections and never says a word."""
    waiting = asyncio.Event()

    async def hush(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await waiting.wait()
        writer.close()

    server = await asyncio.start_unix_server(hush, tmp_path / ".s.PGSQL.5432")
    yield f"postgresql://u:@/d?host={tmp_path}"
    waiting.set()
    server.close()
    await server.wait_closed()


async def test_a_server_that_does_not_answer_is_unavailable(silent_server: str) -> None:
    await assert_unavailable_within_seconds(silent_server)


async def test_a_server_without_room_is_unavailable(postgres_url: str) -> None:
    owner = await asyncpg.connect(postgres_url)
    role = f"crowded_{postgres_url.split('/')[3].split('?')[0]}"
    await owner.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")
    await assert_unavailable_within_seconds(postgres_url.replace("//postgres:", f"//{role}:"))
    await owner.execute(f"DROP ROLE {role}")
    await owner.close()


async def test_a_connection_that_was_cut_while_idle_is_replaced(postgres_url: str) -> None:
    house = House(postgres_url)
    await house.runner.run(write_note, Note("before"), TELLER)
    await cut_all(postgres_url)
    await house.runner.run(write_note, Note("after"), TELLER)
    assert await house.notes() == ["before", "after"]
    await house.database.close()


async def test_a_command_whose_connection_is_cut_is_unavailable(postgres_url: str) -> None:
    house = House(postgres_url)

    async def cut_off(uow: UnitOfWork, cmd: Note) -> None:
        await write_note(uow, cmd)
        await cut_all(postgres_url)
        await write_note(uow, cmd)

    with pytest.raises(Unavailable):
        await house.runner.run(cut_off, Note("x"), TELLER)
    assert await house.notes() == []
    assert await house.phases() == [("attempted", None), ("failed", "unavailable")]
    await house.database.close()


async def cut_all(url: str) -> None:
    owner = await asyncpg.connect(url)
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await owner.close()


async def test_a_pool_without_a_free_connection_is_unavailable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
    house = House(sqlite_url)
    async with house.database.begin():
        with pytest.raises(Unavailable):
            await house.runner.run(write_note, Note("x"), TELLER)
    assert await house.phases() == []
    await house.database.close()


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("planted")
    error.sqlite_errorcode = code
    return error


def postgres_error(state: str) -> Exception:
    found: Exception = asyncpg.PostgresError.new({"C": state, "M": "planted"})
    return found


def named(value: object) -> str | None:
    if isinstance(value, sqlite3.OperationalError):
        return f"sqlite-{value.sqlite_errorcode}"
    return type(value).__name__ if isinstance(value, Exception) else None


@pytest.mark.parametrize(
    ("error", "transient", "away"),
    [
        (sqlite_error(sqlite3.SQLITE_BUSY), True, True),
        (sqlite_error(sqlite3.SQLITE_BUSY | 2 << 8), True, True),
        (sqlite_error(sqlite3.SQLITE_LOCKED), True, True),
        (sqlite_error(sqlite3.SQLITE_FULL), False, True),
        (sqlite_error(sqlite3.SQLITE_IOERR | 4 << 8), False, True),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), False, True),
        (sqlite_error(sqlite3.SQLITE_ERROR), False, False),
        (sqlite_error(sqlite3.SQLITE_READONLY), False, True),
        (sqlite_error(sqlite3.SQLITE_CONSTRAINT), False, False),
        (postgres_error("40P01"), True, True),  # deadlock
        (postgres_error("40001"), True, True),  # serialisation
        (postgres_error("55P03"), True, True),  # lock not available
        (postgres_error("08006"), False, True),  # connection failure
        (postgres_error("53100"), False, True),  # disk full
        (postgres_error("57P01"), False, True),  # shutting down
        (postgres_error("23505"), False, False),  # unique
        (asyncpg.InterfaceError("connection is closed"), False, True),
        (InterfaceError("SELECT 1", None, Exception("connection is closed")), False, True),
        (ConnectionResetError(), False, True),
        (TimeoutError(), False, True),
        (NotFound(), False, False),
        (ZeroDivisionError(), False, False),
    ],
    ids=named,
)
def test_an_error_is_told_apart_whether_wrapped_or_as_the_driver_raised_it(
    error: Exception, transient: bool, away: bool
) -> None:
    assert is_transient(error) is transient
    assert isinstance(translated(error), Unavailable) if away else translated(error) is error
    if getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorcode", None):
        wrapped = DBAPIError("SELECT 1", None, error)
        assert is_transient(wrapped) is transient
        assert isinstance(translated(wrapped), Unavailable) is away


def test_work_that_asks_to_run_again_is_transient() -> None:
    assert is_transient(RetryTransaction("a row was not at the version that was read"))
