"""Light reads: the same rows as in a view, nothing written, and nobody waits for a long one."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import bindparam, func, literal_column, select

from guilder.core.errors import Unavailable
from guilder.db import light
from guilder.db.audit import audit_events
from guilder.db.engine import sqlite_path
from guilder.db.light import STEPS_AT_ONCE, PostgresSource, SqliteSource
from guilder.db.postgres import postgres_dsn
from guilder.db.prepared import ANY_KEY, MOST_KEYS, Compiled, Keyed, Prepared
from guilder.db.reader import Reader
from tests.db.house import TELLER, House, Note, write_note

type Row = tuple[Any, ...]

TRAIL: Prepared[Row] = Prepared(
    select(audit_events)
    .where(audit_events.c.phase == bindparam("phase"))
    .order_by(audit_events.c.id)
    .limit(bindparam("count")),
    tuple,
)
BY_ID: Keyed[int, Row] = Keyed(
    select(audit_events).where(audit_events.c.id.in_(ANY_KEY)), tuple, itemgetter(0)
)
SUBJECTS: Keyed[int, Row] = Keyed(
    select(audit_events.c.id, audit_events.c.action).where(
        audit_events.c.id.in_(ANY_KEY), audit_events.c.phase == bindparam("phase")
    ),
    tuple,
    itemgetter(0),
)
ADMIN = replace(TELLER, user_id=UUID("01999999-0000-7000-8000-000000000001"))
_steps = select(literal_column("1").label("n")).cte("steps", recursive=True)
_steps = _steps.union_all(select(_steps.c.n + 1).where(_steps.c.n < bindparam("last")))
LONG: Prepared[int] = Prepared(select(func.max(_steps.c.n)), itemgetter(0))


def looking_up(*keys: int) -> Callable[[Reader], Awaitable[dict[int, Row]]]:
    return lambda view: view.keyed(BY_ID, keys)


def counting_to(last: int) -> Callable[[Reader], Awaitable[int | None]]:
    return lambda view: view.row(LONG, last=last)


async def notes(house: House, count: int) -> None:
    for number in range(count):
        await house.runner.run(write_note, Note(f"note {number}"), TELLER)


async def test_a_light_read_gives_the_rows_of_a_view(house: House) -> None:
    await notes(house, 5)

    async def look(view: Reader) -> tuple[Any, ...]:
        succeeded = await view.rows(TRAIL, phase="succeeded", count=3)
        first = await view.row(TRAIL, phase="attempted", count=1)
        missing = await view.row(TRAIL, phase="failed", count=1)
        keyed = await view.keyed(BY_ID, [3, 1, 99, 2])
        some = await view.keyed(SUBJECTS, range(1, 9), phase="attempted")
        none = await view.keyed(BY_ID, ())
        return succeeded, first, missing, keyed, some, none

    light, whole = await house.runner.read(look), await house.runner.view(look)
    assert light == whole
    succeeded, first, missing, keyed, some, none = light
    assert (len(succeeded), first[4], missing, none) == (3, "attempted", None, {})
    assert keyed.keys() == {1, 2, 3}
    assert some.keys() == {1, 3, 5, 7}
    assert isinstance(keyed[1][2], UUID)


async def test_more_keys_than_one_statement_takes_are_asked_for_in_several(house: House) -> None:
    await notes(house, 2)
    found = await house.runner.read(lambda view: view.keyed(BY_ID, range(2 * MOST_KEYS + 5)))
    assert found.keys() == {1, 2, 3, 4}


async def test_a_light_read_cannot_write(house: House) -> None:
    await notes(house, 1)
    delete = Compiled("DELETE FROM outbox", (), ())
    with pytest.raises((sqlite3.OperationalError, asyncpg.ReadOnlySQLTransactionError)):
        await house.database.light.fetch(delete, ())
    assert await house.notes() == ["note 0"]


async def test_what_a_read_tells_of_itself_is_in_the_trail_before_it_is_answered(
    house: House,
) -> None:
    async def look(view: Reader) -> int:
        view.tell_read(ADMIN, "note.read", 7)
        return view.now_us

    assert await house.runner.read(look) == house.clock.now_us()
    assert [(row.action, row.phase, row.subject) for row in await house.audit()] == [
        ("note.read", "attempted", None),
        ("note.read", "succeeded", "7"),
    ]


async def test_a_long_statement_leaves_the_loop_to_others(sqlite_url: str) -> None:
    house = House(sqlite_url)
    reading = asyncio.create_task(house.runner.read(counting_to(3_000_000)))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await reading, turns > 20) == (3_000_000, True)
    assert await house.runner.read(counting_to(10)) == 10
    await house.database.close()


async def test_a_short_statement_is_not_taken_for_a_long_one_however_often_it_runs(
    sqlite_url: str,
) -> None:
    house = House(sqlite_url)
    source = house.database.light
    assert isinstance(source, SqliteSource)
    for last in [10] * 3_000 + [STEPS_AT_ONCE // 20] * 100:
        assert await house.runner.read(counting_to(last)) == last
    assert source._threads is None
    await house.database.close()


async def test_a_light_read_waits_in_a_thread_for_a_locked_database(sqlite_url: str) -> None:
    house = House(sqlite_url)
    blocker = sqlite3.connect(sqlite_path(sqlite_url), isolation_level=None)
    blocker.execute("PRAGMA locking_mode=EXCLUSIVE")
    blocker.execute("BEGIN EXCLUSIVE")
    reading = asyncio.create_task(house.runner.read(counting_to(10)))
    turns = 0
    for _ in range(50):
        await asyncio.sleep(0.001)
        turns += 1
    assert (turns, reading.done()) == (50, False)
    blocker.close()
    assert await reading == 10
    await house.database.close()


async def test_no_light_read_is_answered_by_another_file(sqlite_url: str) -> None:
    """What the first connection has open is the database, and a later one has no other."""
    house = House(sqlite_url)
    await notes(house, 1)
    assert (await house.runner.read(looking_up(1))).keys() == {1}
    path = sqlite_path(sqlite_url)
    path.with_name("other").write_bytes(path.read_bytes())
    path.with_name("other").replace(path)
    with pytest.raises(Unavailable):
        await house.runner.read(counting_to(100_000))
    await house.database.close()


async def test_who_waits_for_a_thread_for_too_long_is_told_so(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(light, "ACQUIRE_SECONDS", 0.05)
    house = House(sqlite_url)
    assert await house.runner.read(counting_to(10)) == 10
    busy = [asyncio.create_task(house.runner.read(counting_to(4_000_000))) for _ in range(5)]
    ended = await asyncio.gather(*busy, return_exceptions=True)
    assert [one for one in ended if one != 4_000_000] == [ended[4]]
    assert isinstance(ended[4], Unavailable)
    await house.database.close()


async def ended(url: str) -> None:
    """Every connection of light reads is ended by the server."""
    other = await asyncpg.connect(postgres_dsn(url))
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()


async def test_an_ended_connection_is_replaced_unseen(postgres_url: str) -> None:
    house = House(postgres_url)
    for _ in range(3):
        assert await house.runner.read(looking_up(1)) == {}
        await ended(postgres_url)
    await house.database.close()


async def test_a_connection_that_has_been_told_its_end_is_not_used_again(
    postgres_url: str,
) -> None:
    """The server says why before it hangs up: between the two the driver is out of step."""
    house = House(postgres_url)
    source = house.database.light
    assert isinstance(source, PostgresSource)
    assert await house.runner.read(looking_up(1)) == {}
    fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
    told = b"E" + (len(fields) + 4).to_bytes(4) + fields
    for holder in source._pool._holders:
        if holder._con is not None:
            holder._con._protocol.data_received(told)
    assert await house.runner.read(looking_up(1)) == {}
    assert await house.runner.read(counting_to(10)) == 10
    await house.database.close()


async def test_without_a_server_a_light_read_is_unavailable(postgres_url: str) -> None:
    nobody = House(postgres_url.replace("host=", "host=/nowhere"))
    with pytest.raises(Unavailable):
        await nobody.runner.read(looking_up(1))
    with pytest.raises(Unavailable):
        await nobody.runner.read(lambda view: view.row(TRAIL, phase="failed", count=1))
    await nobody.database.close()


class Counting(PostgresSource):
    """Counts what is sent; holds it until it is let go."""

    sent: list[int]
    gate: asyncio.Event
    broken: Exception | None = None

    async def fetch(
        self, statement: Compiled, arguments: Sequence[Any], seconds: float | None = None
    ) -> list[Any]:
        self.sent.append(len(set(arguments)))
        await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        return await super().fetch(statement, arguments, seconds)


@pytest.fixture
async def counting(house: House) -> Counting:
    source = house.database.light
    assert isinstance(source, PostgresSource)
    made = Counting(source._connect, source.dialect)
    made.sent, made.gate = [], asyncio.Event()
    await house.database.light.close()
    house.database.light = made
    return made


class TestGathered:
    """Look-ups that come while one is on its way are sent as one."""

    @pytest.fixture
    def database_url(self, postgres_url: str) -> str:
        return postgres_url

    async def test_who_comes_meanwhile_shares_the_next_statement(
        self, house: House, counting: Counting
    ) -> None:
        counting.gate.set()
        await notes(house, 10)
        counting.gate.clear()
        tasks = [
            asyncio.create_task(house.runner.read(looking_up(n, n + 1, 999))) for n in range(1, 17)
        ]
        await asyncio.sleep(0)
        first = asyncio.create_task(house.runner.read(looking_up(18)))
        await asyncio.sleep(0.01)
        counting.gate.set()
        for n, found in enumerate(await asyncio.gather(*tasks), 1):
            assert {number: row[0] for number, row in found.items()} == {n: n, n + 1: n + 1}
        assert (await first).keys() == {18}
        assert sum(counting.sent) == 17 + 1 + 1
        assert len(counting.sent) == 2

    async def test_who_goes_away_takes_nothing_from_the_others(
        self, house: House, counting: Counting
    ) -> None:
        counting.gate.set()
        await notes(house, 2)
        counting.gate.clear()
        gone, stays = [asyncio.create_task(house.runner.read(looking_up(n))) for n in (1, 2)]
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0)
        counting.gate.set()
        assert (await stays).keys() == {2}
        assert gone.cancelled()

    async def test_a_failure_is_told_to_each_and_the_next_one_works(
        self, house: House, counting: Counting
    ) -> None:
        counting.broken = asyncpg.TooManyConnectionsError("no more")
        tasks = [asyncio.create_task(house.runner.read(looking_up(n))) for n in (1, 2)]
        counting.gate.set()
        failed = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in failed] == [Unavailable, Unavailable]
        assert failed[0] is not failed[1]
        counting.broken = None
        assert await house.runner.read(looking_up(1)) == {}
