"""With 100,000 rows in the trail no filter makes the newest page read it from end to end."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import event

from guilder.core.actor import SYSTEM
from guilder.core.page import PageRequest
from guilder.db.engine import Database, is_sqlite, sqlite_path
from guilder.db.postgres import postgres_dsn
from guilder.db.unit_of_work import View
from guilder.domains.audit.queries import list_audit_events
from guilder.domains.audit.rules import AuditFilter
from tests.db.house import START
from tests.reliability.test_query_plans import nodes, postgres_scans
from tests.support.postgres import Server

ROWS = 100_000
FILTERS: dict[str, dict[str, Any]] = {
    "actor": {"actor": f"user:{UUID(int=7)}"},
    "nobody": {"actor": f"user:{UUID(int=999_999)}"},
    "action": {"action": "action.3"},
    "unknown action": {"action": "none"},
    "failed": {"phase": "failed"},
    "attempted": {"phase": "attempted"},
    "subject": {"subject": "17"},
    "from": {"from_us": START + 900},
    "to": {"to_us": START + 900},
    "nothing since": {"from_us": START + 10 * ROWS},
}
_FILL = """
INSERT INTO audit_events SELECT n, {start} + n, {uuid}, 'action.' || (n / 2) % 40,
CASE WHEN n % 2 = 1 THEN 'attempted' WHEN n % 100 = 0 THEN 'failed' ELSE 'succeeded' END,
'user:' || {user}, NULL, CASE WHEN n % 3 = 0 THEN CAST(n % 500 AS TEXT) END, NULL, 'r', '192.0.2.1',
NULL, {chain}, NULL, NULL FROM {numbers}
"""
_SQLITE = _FILL.format(
    start=START,
    uuid="printf('00000000-0000-0000-0000-%012x', (n + 1) / 2)",
    user="printf('00000000-0000-0000-0000-%012x', n % 300)",
    chain="zeroblob(32)",
    numbers=f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS})"
    " SELECT n FROM s)",
)
_POSTGRES = _FILL.format(
    start=START,
    uuid="('00000000-0000-0000-0000-' || lpad(to_hex((n + 1) / 2), 12, '0'))::uuid",
    user="('00000000-0000-0000-0000-' || lpad(to_hex(n % 300), 12, '0'))",
    chain="decode(repeat('00', 32), 'hex')",
    numbers=f"generate_series(1, {ROWS}) AS s(n)",
)


@pytest.fixture(scope="module")
def filled_sqlite(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("trail") / "guilder.db"
    shutil.copyfile(sqlite_template, path)
    connection = sqlite3.connect(path)
    connection.execute(_SQLITE)
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def filled_postgres(postgres_server: Server) -> Iterator[str]:
    url = postgres_server.clone()

    async def fill() -> None:
        server = await asyncpg.connect(postgres_dsn(url))
        await server.execute(_POSTGRES)
        await server.execute("ANALYZE audit_events")
        await server.close()

    asyncio.run(fill())
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"filled_{request.param}")
    return url


def wanted() -> Iterator[tuple[str, AuditFilter]]:
    yield "all", AuditFilter()
    for name, values in FILTERS.items():
        yield name, AuditFilter(**values)
    for one, two in combinations(FILTERS, 2):
        if not FILTERS[one].keys() & FILTERS[two].keys():
            yield f"{one} and {two}", AuditFilter(**FILTERS[one], **FILTERS[two])


async def recorded(url: str) -> dict[str, tuple[str, Any]]:
    """By name the statement of each filter, for the first page and one further on."""
    database = Database(url, pool_size=1)
    last: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, sql: str, values: Any, *_more: Any) -> None:
        if "audit_events" in sql:
            last.append((sql, values))

    event.listen(database.reader.sync_engine, "before_cursor_execute", note)
    cursor = f"{START + ROWS // 2}.{ROWS // 2}"
    found = {}
    for name, filter_ in wanted():
        for place, request in (("", PageRequest()), (" further on", PageRequest(after=cursor))):
            async with database.view() as connection:
                await list_audit_events(View(connection, START), SYSTEM, filter_, request)
            found[name + place] = last[-1]
    await database.close()
    return found


def sqlite_plan(url: str, sql: str, values: Any) -> list[str]:
    connection = sqlite3.connect(sqlite_path(url))
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    connection.close()
    return [step for step in steps if "INDEX" not in step or step.startswith("USE TEMP")]


async def bad_steps(url: str, sql: str, values: Any) -> list[str]:
    """Scans, and on SQLite sorting; on PostgreSQL also in plans for any values at all."""
    if is_sqlite(url):
        return sqlite_plan(url, sql, values)
    settings = {"jit": "off"}
    return [
        *await postgres_scans(url, {sql: values}, settings),
        *await postgres_scans(url, {sql: None}, settings),
    ]


def sqlite_work(url: str, sql: str, values: Any) -> int:
    """How many instructions of SQLite's machine it takes: some tens a row that is given."""
    connection = sqlite3.connect(sqlite_path(url))
    ticks: list[None] = []
    connection.set_progress_handler(lambda: ticks.append(None), 100)
    connection.execute(sql, values).fetchall()
    connection.close()
    return 100 * len(ticks)


async def postgres_work(url: str, sql: str, values: Any) -> int:
    """How many rows it looks at, those that it throws away included."""
    server = await asyncpg.connect(postgres_dsn(url), server_settings={"jit": "off"})
    plan = json.loads(await server.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *values))
    await server.close()
    return sum(
        int(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes(plan[0]["Plan"])
    )


async def test_one_filter_looks_at_little_more_than_a_page(filled_url: str) -> None:
    statements = await recorded(filled_url)
    found = {}
    for name in ("all", *FILTERS):
        for place in ("", " further on"):
            sql, values = statements[name + place]
            if is_sqlite(filled_url):
                found[name + place] = sqlite_work(filled_url, sql, values) // 10
            else:
                found[name + place] = await postgres_work(filled_url, sql, values)
    assert max(found.values()) < 400, found


async def test_no_filter_reads_the_trail_from_end_to_end(filled_url: str) -> None:
    statements = await recorded(filled_url)
    assert len(statements) > 60
    found = {
        name: bad
        for name, (sql, values) in statements.items()
        if (bad := await bad_steps(filled_url, sql, values))
    }
    assert not found


async def test_a_scan_would_be_seen(filled_url: str) -> None:
    assert await bad_steps(filled_url, "SELECT * FROM audit_events WHERE ip_address = 'x'", ())
