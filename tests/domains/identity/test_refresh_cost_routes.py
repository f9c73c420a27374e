"""Refreshing costs the same with ten sessions of a user and with a hundred thousand more."""

import gc
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from guilder.db.engine import is_sqlite, sqlite_path
from guilder.db.migrate import migration_engine
from guilder.db.postgres import postgres_dsn
from tests.reliability.test_query_plans import nodes
from tests.support.app import app_on, bank_of, started
from tests.support.logins import refresh, signed_up
from tests.support.sizes import tell
from tests.support.statements import Said, statements

FEW, MANY, VERY_MANY = 10, 5_000, 100_000
REFRESHES = 60
GROWN = ("identity_sessions", "identity_refresh_tokens")
SLACK_MS = 5.0
"""What a busy machine may add to the quickest; what grows with the sessions grows by thousands."""

# Half of the sessions are the user's own, so that both counts grow: the user's and the bank's.
_SESSIONS = """
INSERT INTO identity_sessions (id, user_id, ip_address, created_at, last_activity_at, expires_at,
                               generation, version)
SELECT {uuid}, CASE WHEN n % 2 = 0 THEN {whose} ELSE {other} END, '192.0.2.1', n, n,
       4000000000000000, 1, 1 FROM {series}"""
_TOKENS = """
INSERT INTO identity_refresh_tokens (hash, session_id, generation, created_at)
SELECT {hash}, id, 1, created_at FROM identity_sessions
 WHERE NOT EXISTS (SELECT 1 FROM identity_refresh_tokens WHERE session_id = identity_sessions.id)"""


async def add_sessions(url: str, user_id: str, other_id: str, count: int) -> None:
    """So many more sessions of a user, and as many of another, with a token each."""
    words = {
        "uuid": "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-7' || "
        "substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || "
        "hex(randomblob(6)))",
        "hash": "randomblob(32)",
        "series": f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s"
        f" WHERE n < {2 * count}) SELECT n FROM s)",
        "whose": f"'{user_id}'",
        "other": f"'{other_id}'",
    }
    if not is_sqlite(url):
        words |= {
            "uuid": "gen_random_uuid()",
            "hash": r"decode(md5(id\:\:text) || md5(id\:\:text || 'x'), 'hex')",
            "series": rf"generate_series(1\:\:bigint, {2 * count}) AS s(n)",
            "whose": rf"'{user_id}'\:\:uuid",
            "other": rf"'{other_id}'\:\:uuid",
        }
    engine = migration_engine(url)
    async with engine.begin() as connection:
        for statement in (_SESSIONS, _TOKENS, "ANALYZE"):
            await connection.execute(text(statement.format(**words)))
    await engine.dispose()


async def refreshed(client: httpx.AsyncClient, token: str, times: int) -> tuple[str, list[float]]:
    """The last token of a chain, and how many milliseconds each refresh took."""
    took = []
    gc.disable()
    try:
        for _ in range(times):
            begun = perf_counter()
            answer = await refresh(client, token)
            took.append((perf_counter() - begun) * 1000)
            assert answer.status_code == 201, answer.text
            token = answer.json()["refresh_token"]
    finally:
        gc.enable()
    return token, took


async def scans(url: str, said: Said) -> list[str]:
    """Which of the tables that have grown would be read from end to end."""
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_path(url))) as file:
            return [
                f"{row[3]}: {sql}"
                for sql, values in said
                if sql.startswith(("SELECT", "UPDATE", "DELETE"))
                for row in file.execute(f"EXPLAIN QUERY PLAN {sql}", values)
                if row[3].startswith(tuple(f"SCAN {table}" for table in GROWN))
            ]
    connection = await asyncpg.connect(postgres_dsn(url))
    found = []
    for sql, values in said:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")) and "identity_" in sql:
            plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *values))
            found += [
                f"{node['Relation Name']}: {sql}"
                for node in nodes(plan[0]["Plan"])
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWN
            ]
    await connection.close()
    return found


@pytest.mark.parametrize(
    ("database_url", "many"),
    [
        ("sqlite", MANY),
        pytest.param("postgres", VERY_MANY, marks=pytest.mark.heavy),
    ],
    indirect=["database_url"],
)
async def test_a_refresh_costs_the_same_whatever_sessions_there_are(
    database_url: str, tmp_path: Path, many: int
) -> None:
    app = app_on(database_url, tmp_path)
    async with started(app) as client:
        ada, eve = await signed_up(client), await signed_up(client, "eve@example.test")
        token, whose = ada["refresh_token"], (ada["user"]["id"], eve["user"]["id"])
        heard: dict[int, Said] = {}
        quickest: dict[int, float] = {}
        there = 1
        for size in (FEW, many):
            await add_sessions(database_url, *whose, size - there)
            there = size
            token, _ = await refreshed(client, token, 5)  # statements are prepared, caches warm
            with statements(bank_of(app).database) as heard[size]:
                token, _ = await refreshed(client, token, 1)
            token, took = await refreshed(client, token, REFRESHES)
            quickest[size] = min(took)
        found = await scans(database_url, heard[many])
        planted: Any = [("SELECT id FROM identity_sessions WHERE last_activity_at = 7", ())]
        assert await scans(database_url, planted)  # a scan would be seen
    tell("refresh", engine=bank_of(app).database.writer.dialect.name, statements=len(heard[many]),
         quickest_ms={size: round(least, 2) for size, least in quickest.items()})  # fmt: skip
    assert [sql for sql, _ in heard[FEW]] == [sql for sql, _ in heard[many]]
    assert len(heard[many]) > 5
    assert not found, "\n".join(found)
    assert quickest[many] < 2 * quickest[FEW] + SLACK_MS
