"""Another server that stands still in the midst of a batch holds nobody up without end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.db.postgres import connect_postgres, postgres_dsn
from guilder.domains.ledger import poster as poster_module
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.store import postgres
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import pay
from tests.support.bank import named
from tests.support.books import problems, read_books
from tests.support.waiting import LONG


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """The branch of these tests is on PostgreSQL alone."""
    return postgres_url


async def in_copy(connection: Any) -> None:
    """Hold the head's lock, and send the first part of a COPY and nothing more."""
    begun = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b"PGCOPY\n\xff\r\n\0"
        begun.set()
        await asyncio.sleep(LONG)

    await connection.execute("BEGIN")
    await connection.fetchrow("SELECT last_no FROM ledger_head FOR UPDATE")
    copying = asyncio.create_task(
        connection.copy_to_table("ledger_transfers", source=half(), format="binary")
    )
    copying.add_done_callback(lambda task: task.cancelled() or task.exception())
    await begun.wait()


async def in_transaction(connection: Any) -> None:
    """Hold the head's lock and say nothing more."""
    await connection.execute("BEGIN")
    await connection.fetchrow("SELECT last_no FROM ledger_head FOR UPDATE")


@asynccontextmanager
async def frozen(branch: Branch, stands: Callable[[Any], Any]) -> AsyncIterator[Any]:
    """Another server's connection to the ledger, stopped where ``stands`` leaves it."""
    connection = await asyncpg.connect(postgres_dsn(branch.url))
    await stands(connection)
    yield connection
    connection.terminate()


@pytest.mark.heavy
@pytest.mark.parametrize("stands", [in_copy, in_transaction])
async def test_a_frozen_server_is_ended_and_the_others_go_on(
    branch: Branch,
    stands: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(postgres.PINNED, "lock_timeout", "300")
    monkeypatch.setattr(postgres, "HELD_SECONDS", 0.5)
    alice = await branch.open(5)
    await branch.store.close()  # the next batch connects with these bounds
    poster = Poster(branch.store)
    poster.start()
    async with asyncio.timeout(LONG), frozen(branch, stands) as blocker:
        posting = named("after the stop", [pay(branch.settlement, alice, 7)])
        outcome = await poster.submit(posting)
        assert outcome.results[0].status == "created"
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await blocker.execute("COMMIT")
    await poster.stop()
    branch.store = postgres.PostgresStore(branch.url, branch.clock)
    assert await branch.posted(alice) == [12]
    assert problems(await read_books(branch.url)) == []
    events = [record.message for record in caplog.records]
    assert events == ["ended: held the head's lock and sent nothing"]


@pytest.mark.heavy
async def test_requests_are_answered_while_the_head_is_held(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody who may not be ended yet: nothing is done, and that is what they are told."""
    monkeypatch.setitem(postgres.PINNED, "lock_timeout", "300")
    monkeypatch.setattr(poster_module, "BATCH_SECONDS", 1.0)
    monkeypatch.setattr(poster_module, "QUEUED_SECONDS", 1.0)
    alice = await branch.open(5)
    await branch.store.close()
    poster = Poster(branch.store)
    poster.start()
    async with frozen(branch, in_copy):
        begun = time.monotonic()
        units = [named(f"{n}", [pay(branch.settlement, alice, 1)]) for n in range(1200)]
        answers = await asyncio.gather(*map(poster.submit, units), return_exceptions=True)
        assert {type(answer) for answer in answers} == {Unavailable}
        assert time.monotonic() - begun < postgres.HELD_SECONDS
    outcome = await poster.submit(named("later", [pay(branch.settlement, alice, 7)]))
    assert outcome.results[0].status == "created"
    await poster.stop()
    branch.store = postgres.PostgresStore(branch.url, branch.clock)
    assert await branch.posted(alice) == [12]


async def test_a_writing_transaction_and_the_poster_are_bounded(branch: Branch) -> None:
    """Whatever holds a lock has an end, and so has waiting for one."""
    await branch.said()
    poster = branch.store._connection  # type: ignore[attr-defined] # the store's own
    names = ("lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
    shown = [await poster.fetchval(f"SHOW {name}") for name in names]
    assert shown == ["2s", "5s", "15s"]
    async with branch.database.begin() as connection:
        found = [(await connection.exec_driver_sql(f"SHOW {name}")).scalar_one() for name in names]
    assert found == ["4s", "10s", "1min"]
    async with branch.database.view() as connection:
        found = [(await connection.exec_driver_sql(f"SHOW {name}")).scalar_one() for name in names]
    assert found == ["0", "0", "0"]


async def test_a_migration_may_take_its_time(branch: Branch) -> None:
    connection = await connect_postgres(branch.url, {}, steps_down=False, command_seconds=None)
    assert await connection.fetchval("SHOW transaction_timeout") == "0"
    assert await connection.fetchval("SHOW lock_timeout") == "0"
    await connection.close()


async def test_a_server_that_cannot_be_reached_to_end_a_holder_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The batch is then answered as any that cannot be committed; nothing else is raised."""
    store = postgres.PostgresStore("postgresql://nobody@127.0.0.1:1/nowhere", SystemClock())
    await store._end_blockers()
    told = "the head's lock is held, and its holder cannot be ended"
    assert [record.message for record in caplog.records] == [told]
