"""Failures of a server and its connections: cut, deadlocked, overtaken, and commits in the dark."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from guilder.core.errors import OutcomeUnknown
from guilder.db.postgres import postgres_dsn
from guilder.domains.ledger.ports import NotCommitted
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Unit
from guilder.domains.ledger.store import postgres
from guilder.domains.ledger.store.postgres import PostgresStore
from tests.db import owner
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, pay
from tests.support.books import problems, read_books
from tests.support.fault_proxy import Cut, proxied
from tests.support.taps import Gate, tapped_store

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'guilder-poster' AND datname = current_database()"
)


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """The branch of these tests is on PostgreSQL alone."""
    return postgres_url


def one(branch: Branch, to: int) -> Unit:
    """A deposit of 7 under a key."""
    return Unit([pay(branch.settlement, to, 7, key=b"k" * 16, fingerprint=b"f" * 16)])


async def test_a_connection_that_was_cut_while_idle_is_replaced(branch: Branch) -> None:
    alice = await branch.open(5)
    connection = branch.store._connection  # type: ignore[attr-defined] # the store's own
    await owner.execute(branch.url, CUT)
    while not connection.is_closed():
        await asyncio.sleep(0)
    assert await branch.said(pay(branch.settlement, alice, 5)) == ["created"]
    assert await branch.posted(alice) == [10]


@pytest.mark.parametrize("cut", ["server stops the session", "connection breaks"])
async def test_a_connection_that_is_cut_in_a_batch_loses_it_and_is_replaced(
    branch: Branch, cut: str
) -> None:
    alice = await branch.open(5)
    async with proxied(branch.url) as (proxy, through), head_locked(branch.url) as watcher:
        store = PostgresStore(through, branch.clock)
        posting = asyncio.create_task(store.commit([one(branch, alice)]))
        await waits_for_a_lock(watcher)
        if cut == "connection breaks":
            await proxy.close()
        else:
            await owner.execute(branch.url, CUT)
        with pytest.raises(NotCommitted):
            await posting
    assert await branch.posted(alice) == [5]
    (outcome,) = await branch.store.commit([one(branch, alice)])
    assert outcome.results[0].status == "created"
    await store.close()


@pytest.mark.parametrize("turns", [1, 2, 5])
async def test_a_cancellation_even_of_the_rollback_leaves_no_transaction_open(
    branch: Branch, turns: int
) -> None:
    alice = await branch.open(5)
    async with head_locked(branch.url) as watcher:
        posting = asyncio.create_task(branch.said(pay(branch.settlement, alice, 7)))
        await waits_for_a_lock(watcher)
        posting.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
    assert await branch.said(pay(branch.settlement, alice, 1)) == ["created"]
    assert await branch.posted(alice) == [6]


async def test_what_arrives_while_another_process_posts_is_in_the_next_batch(
    branch: Branch,
) -> None:
    alice = await branch.open(5)
    before = await last_batch(branch.url)
    poster = Poster(PostgresStore(branch.url, branch.clock))
    poster.start()
    async with head_locked(branch.url) as watcher:
        first = asyncio.create_task(poster.submit(Unit([pay(branch.settlement, alice, 1)])))
        await waits_for_a_lock(watcher)
        later = [
            asyncio.create_task(poster.submit(Unit([pay(branch.settlement, alice, n)])))
            for n in (2, 3)
        ]
        await asyncio.sleep(0)
    told = [outcome.results[0] for outcome in await asyncio.gather(first, *later)]
    await poster.stop()
    assert [result.credit_after for result in told] == [6, 8, 11]
    assert await last_batch(branch.url) == before + 1
    assert problems(await read_books(branch.url)) == []


async def test_a_process_that_stands_still_in_a_batch_is_put_out_of_it(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the head, and with it every other process."""
    assert int(postgres.PINNED["idle_in_transaction_session_timeout"]) <= 10_000
    alice = await branch.open(5)
    assert await branch.said(pay(branch.settlement, alice, 1)) == ["created"]
    monkeypatch.setitem(postgres.PINNED, "idle_in_transaction_session_timeout", "300")
    gate = Gate()
    store = tapped_store(branch.url, branch.clock, gate)
    gate.shut(1, after_it=True)
    paused = asyncio.create_task(store.commit([one(branch, alice)]))
    await gate.has_been_reached()
    assert await branch.said(pay(branch.settlement, alice, 10)) == ["created"]
    gate.opened.set()
    with pytest.raises(NotCommitted):
        await paused
    (outcome,) = await store.commit([one(branch, alice)])
    assert outcome.results[0].credit_after == 23
    await store.close()
    assert problems(await read_books(branch.url)) == []


@asynccontextmanager
async def head_locked(url: str) -> AsyncIterator[Any]:
    """Another transaction holds the head's lock; gives a connection to watch with."""
    rival, watcher = [await asyncpg.connect(postgres_dsn(url)) for _ in range(2)]
    async with rival.transaction():
        await rival.execute("SELECT 1 FROM ledger_head FOR UPDATE")
        yield watcher
    await rival.close()
    await watcher.close()


async def test_a_connection_that_is_cut_while_an_error_is_handled_is_replaced(
    branch: Branch,
) -> None:
    alice = await branch.open(5)

    class Stopped:
        """A clock that takes the connection with it when it stops."""

        def now_us(self) -> int:
            thread = threading.Thread(
                target=lambda: asyncio.run(owner.execute(branch.url, CUT)), daemon=True
            )
            thread.start()
            thread.join()
            raise ZeroDivisionError

    store = PostgresStore(branch.url, Stopped())
    with pytest.raises(ZeroDivisionError):
        await store.commit([])
    store._clock = branch.clock
    assert await store.commit([]) == []
    await store.close()
    assert await branch.posted(alice) == [5]


async def last_batch(url: str) -> int:
    ((number,),) = await owner.rows(url, "SELECT last_batch FROM ledger_head")
    return int(number)


async def waits_for_a_lock(connection: Any) -> None:
    """Until the poster's connection waits for a row."""
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'guilder-poster' "
        "AND wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not await connection.fetchval(query):
        await asyncio.sleep(0.01)


async def test_a_balance_that_was_changed_behind_the_lock_loses_the_batch(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    rival = await asyncpg.connect(postgres_dsn(branch.url))
    watcher = await asyncpg.connect(postgres_dsn(branch.url))
    change = rival.transaction()
    await change.start()
    await rival.execute(
        "UPDATE ledger_balances SET version = version + 1, debits = debits + 60 "
        "WHERE account_id = $1",
        alice,
    )
    posting = asyncio.create_task(branch.said(pay(alice, bob, 60)))
    await waits_for_a_lock(watcher)
    await change.commit()
    with pytest.raises(NotCommitted, match="version"):
        await posting
    # Run again it sees what was done: no update is lost, no money is spent twice.
    assert await branch.said(pay(alice, bob, 60)) == ["insufficient_funds"]
    await rival.close()
    await watcher.close()


async def test_a_deadlock_with_a_stranger_loses_the_batch(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    rival = await asyncpg.connect(postgres_dsn(branch.url))
    watcher = await asyncpg.connect(postgres_dsn(branch.url))
    await rival.execute("SET deadlock_timeout = '20s'")  # the store is the one to notice
    change = rival.transaction()
    await change.start()
    await rival.execute("SELECT 1 FROM ledger_balances WHERE account_id = $1 FOR UPDATE", alice)
    posting = asyncio.create_task(branch.said(pay(alice, bob, 60)))
    await waits_for_a_lock(watcher)
    locking = asyncio.create_task(rival.execute("SELECT 1 FROM ledger_head FOR UPDATE"))
    with pytest.raises(NotCommitted, match="deadlock"):
        await posting
    await locking
    await change.rollback()
    assert await branch.said(pay(alice, bob, 60)) == ["created"]
    await rival.close()
    await watcher.close()


@pytest.mark.parametrize("cut", [Cut.REPLY, Cut.AFTER, Cut.LATE])
async def test_a_commit_whose_reply_is_lost_is_looked_for_and_found(
    branch: Branch, cut: Cut
) -> None:
    alice = await branch.open(5)
    cuts = [cut]
    async with proxied(branch.url, lambda: cuts.pop() if cuts else Cut.NO) as (proxy, through):
        store = PostgresStore(through, branch.clock)
        (outcome,) = await store.commit([one(branch, alice)])
        await store.close()
        assert proxy.cuts[cut] == 1
    assert outcome.results[0].status == "created"
    assert await branch.posted(alice) == [12]
    assert problems(await read_books(branch.url)) == []


async def test_a_commit_that_never_arrived_is_lost_and_can_run_again(branch: Branch) -> None:
    alice = await branch.open(5)
    cuts = [Cut.BEFORE]
    async with proxied(branch.url, lambda: cuts.pop() if cuts else Cut.NO) as (_, through):
        store = PostgresStore(through, branch.clock)
        with pytest.raises(NotCommitted, match="did not take"):
            await store.commit([one(branch, alice)])
        assert await branch.posted(alice) == [5]
        (outcome,) = await store.commit([one(branch, alice)])
        assert outcome.results[0].status == "created"
        await store.close()
    assert await branch.posted(alice) == [12]


async def test_another_processs_batch_under_the_same_number_is_not_taken_for_ours(
    branch: Branch, sister: Branch
) -> None:
    alice = await branch.open(5)
    gone = asyncio.Event()
    door: list[Path] = []

    def cut_and_close_the_door() -> Cut:
        door[0].rename(door[0].with_name("closed"))
        gone.set()
        return Cut.BEFORE

    async with proxied(branch.url, cut_and_close_the_door) as (_, through):
        door.append(door_of(through))
        store = PostgresStore(through, branch.clock)
        ours = asyncio.create_task(store.commit([one(branch, alice)]))
        await gone.wait()
        assert await sister.said(pay(sister.settlement, alice, 1)) == ["created"]
        door[0].with_name("closed").rename(door[0])
        with pytest.raises(NotCommitted, match="did not take"):
            await ours
        await store.close()
    assert await branch.posted(alice) == [6]


def door_of(url: str) -> Path:
    """The socket that an address leads to."""
    return Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432"


async def test_a_lost_reply_to_a_batch_that_wrote_nothing_is_still_an_answer(
    branch: Branch,
) -> None:
    alice = await branch.open(5)
    cuts = [Cut.REPLY]
    async with proxied(branch.url, lambda: cuts.pop() if cuts else Cut.NO) as (_, through):
        store = PostgresStore(through, branch.clock)
        (outcome,) = await store.commit([one(branch, 99)])
        await store.close()
    assert outcome.results[0].status == "rejected"
    assert await branch.posted(alice) == [5]


async def test_the_outcome_is_unknown_when_the_server_stays_away(branch: Branch) -> None:
    alice = await branch.open(5)
    door: list[Path] = []

    def cut_for_good() -> Cut:
        door[0].unlink()  # nobody comes in any more
        return Cut.REPLY

    async with proxied(branch.url, cut_for_good) as (_, through):
        door.append(door_of(through))
        store = PostgresStore(through, branch.clock, resolve_seconds=0.3)
        with pytest.raises(OutcomeUnknown) as refused:
            await store.commit([one(branch, alice)])
        assert "same idempotency key" in refused.value.detail
        await store.close()
    # It had taken; the retry with the same key tells the truth.
    (outcome,) = await branch.store.commit([one(branch, alice)])
    assert outcome.results[0].status == "replayed"
    assert await branch.posted(alice) == [12]


async def test_the_posters_session_has_stepped_down_and_pins_its_plans(branch: Branch) -> None:
    await branch.said()
    connection = branch.store._connection  # type: ignore[attr-defined] # the store's own
    assert (await connection.fetchval("SELECT current_user")).startswith("guilder_app_")
    for name, value in (
        ("synchronous_commit", "on"), ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"), ("jit", "off"), ("transaction_isolation", "read committed"),
    ):  # fmt: skip
        assert await connection.fetchval(f"SHOW {name}") == value


async def test_a_store_that_was_closed_connects_again(branch: Branch) -> None:
    alice = await branch.open(5)
    await branch.store.close()
    await branch.store.close()
    assert await branch.said(pay(branch.settlement, alice, 5)) == ["created"]
    assert branch.clock.at_us == NOW
