"""At 100,000 accounts no hot statement reads a table of the ledger from end to end."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from guilder.core.clock import DAY_US, SystemClock, day_of
from guilder.core.page import PageRequest
from guilder.db.engine import Database, is_sqlite, sqlite_path
from guilder.db.postgres import postgres_dsn
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.ledger import queries
from guilder.domains.ledger.queries import LineFilter
from guilder.domains.ledger.rules.state import Kind, Posting, Unit
from guilder.domains.ledger.store.postgres import PINNED
from tests.support import crowd
from tests.support.bank import ASSET, named
from tests.support.postgres import Server
from tests.support.sizes import of, tell
from tests.support.taps import Tap, tapped_store

ACCOUNT = 4_100  # limited, with a dozen lines in the crowd
PAGE = PageRequest(limit=50)


@pytest.fixture(scope="module")
def crowded_sqlite(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("crowd") / "guilder.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def crowded_postgres(postgres_server: Server) -> Iterator[str]:
    url = postgres_server.clone()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"crowded_{request.param}")
    asyncio.run(crowd.fill(url))
    return url


class Recorder(Tap):
    """Keeps the text of every statement but the transaction's own."""

    def __init__(self) -> None:
        self.statements: dict[str, None] = {}

    def before(self, sql: str) -> str:
        if " " in sql.strip() and not sql.startswith(("COPY", "BEGIN")):
            self.statements[sql] = None
        return sql


def hot_units() -> list[Unit]:
    """A batch that uses every statement of a store."""
    plain = Posting(ACCOUNT, 11, 1, ASSET)
    return [
        named("plan1", [plain]),
        named("plan2", [Posting(12, 13, 1, ASSET, Kind.HOLD)]),
        named("plan3", [Posting(0, 0, 1, "", Kind.CAPTURE, ref=20)]),
        named("plan4", [Posting(0, 0, 0, "", Kind.REVERSAL, ref=15)]),
    ]


async def reads(view: View) -> None:
    """What the routes ask: balances, a page of lines, a month's totals, a customer's transfers."""
    now = view.now_us
    for number in (ACCOUNT, 17):
        await queries.balances_of(view, [number])
        await queries.account_facts(view, [number])
        await queries.balance_at(view, number, now)
        await queries.balance_on(view, number, day_of(now) - 3)
        for most in (1, 1_000):
            await queries.period(view, number, now - 30 * DAY_US, now, most)
        await queries.lines(view, number, LineFilter(), PAGE)
        await queries.lines(view, number, LineFilter(now - 30 * DAY_US, now, True, 1, 9, "r"), PAGE)
        await queries.lines(view, number, LineFilter(), PAGE, oldest_first=True)
        await queries.transfer(view, number)
        await queries.transfers_of(view, [number, number + 7], PAGE, 10**18)
        await queries.balances_after(view, [(number, number)])
    await queries.bank_account(view, ASSET, "settlement")
    await queries.due_holds(view)


async def recorded_reads(url: str) -> dict[str, Any]:
    """Every statement that the reads send, with its values."""
    database = Database(url, pool_size=1)
    found: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, sql: str, values: Any, *_more: Any) -> None:
        if "ledger_" in sql:
            found[sql] = values

    event.listen(database.reader.sync_engine, "before_cursor_execute", note)
    await Runner(database, SystemClock()).view(reads)
    await database.close()
    return found


async def recorded_batch(url: str) -> list[str]:
    """Every statement of a batch."""
    recorder = Recorder()
    store = tapped_store(url, SystemClock(), recorder)
    results = await store.commit(hot_units())
    assert all(r.refusal is None for unit in results for r in unit.results)
    await store.commit(hot_units()[:1])  # replayed
    await store.commit([named("plan5", [Posting(13, 12, 1, ASSET)])])  # small, and nothing to spend
    await store.close()
    return [sql for sql in recorder.statements if "ledger_" in sql]


async def test_no_statement_of_a_batch_scans_a_table(database_url: str) -> None:
    statements = await recorded_batch(database_url)
    assert len(statements) >= 10
    if is_sqlite(database_url):
        scans = sqlite_scans(database_url, dict.fromkeys(statements))
    else:
        scans = await postgres_scans(database_url, dict.fromkeys(statements), PINNED)
    tell("plans of a batch", accounts=crowd.ACCOUNTS, scans=of(len(scans), len(statements)))
    assert not scans, "\n".join(scans)


async def test_no_read_scans_a_table(database_url: str) -> None:
    statements = await recorded_reads(database_url)
    assert len(statements) >= 10
    if is_sqlite(database_url):
        scans = sqlite_scans(database_url, statements)
    else:
        scans = await postgres_scans(database_url, statements, {"jit": "off"})
        generic = await postgres_scans(
            database_url, dict.fromkeys(statements), {"jit": "off"}
        )  # what the driver's prepared statements may come to after some use
        scans += [f"generic: {scan}" for scan in generic]
    tell("plans of the reads", accounts=crowd.ACCOUNTS, scans=of(len(scans), len(statements)))
    assert not scans, "\n".join(scans)


async def test_a_scan_would_be_seen(database_url: str) -> None:
    planted = {"SELECT * FROM ledger_entries WHERE delta = 7": ()}
    if is_sqlite(database_url):
        assert sqlite_scans(database_url, planted)
    else:
        assert await postgres_scans(database_url, planted, PINNED)
        assert await postgres_scans(database_url, dict.fromkeys(planted), {})


def sqlite_scans(url: str, statements: dict[str, Any]) -> list[str]:
    """Scans of tables; ``anon_`` is a subquery that has been read through its own key."""
    connection = sqlite3.connect(sqlite_path(url))
    scans = []
    for sql, values in statements.items():
        given = values if values is not None else [None] * sql.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", given)]
        scans += [
            f"{step}: {' '.join(sql.split())[:300]}"
            for step in plan
            if step.startswith("SCAN ") and not step.startswith(("SCAN anon_", "SCAN CONST"))
        ]
    connection.close()
    return scans


# Through a function, because the driver would want values for the statement's parameters.
_GENERIC_PLAN = """
CREATE FUNCTION pg_temp.generic_plan(sql text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || sql INTO plan; RETURN plan; END $$"""

# The head is one row; partitions that are still empty cost nothing to look at.
_TINY = "SELECT relname FROM pg_class WHERE relname LIKE 'ledger_%' AND reltuples <= 1"


async def postgres_scans(
    url: str, statements: dict[str, Any], settings: dict[str, str]
) -> list[str]:
    connection = await asyncpg.connect(postgres_dsn(url), server_settings=settings)
    await connection.execute(_GENERIC_PLAN)
    tiny = {row[0] for row in await connection.fetch(_TINY)}
    scans = []
    for sql, values in statements.items():
        if values is None:
            text = await connection.fetchval("SELECT pg_temp.generic_plan($1)", sql)
        else:
            text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *values)
        scans += [
            f"{node['Relation Name']}: {' '.join(sql.split())[:300]}"
            for node in nodes(json.loads(text)[0]["Plan"])
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] not in tiny
        ]
    await connection.close()
    return scans


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
