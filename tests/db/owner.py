"""The database seen past Guilder: as its owner, who may change tables and look at every row."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import asyncpg

from guilder.db.engine import is_sqlite, sqlite_path
from guilder.db.postgres import postgres_dsn
from tests.support.waiting import LONG


async def execute(url: str, *statements: str) -> None:
    """Run statements one after the other, each committed by itself."""
    if is_sqlite(url):
        # Not on the loop: a job of the bank that has the lock could not let go of it.
        await asyncio.to_thread(_on_file, url, statements)
        return
    async with _server(url) as server:
        for statement in statements:
            await server.execute(statement)


def _on_file(url: str, statements: tuple[str, ...]) -> None:
    path = sqlite_path(url)
    with closing(sqlite3.connect(path, LONG, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Every row of a query."""
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()
    async with _server(url) as server:
        return [tuple(row) for row in await server.fetch(statement)]


@asynccontextmanager
async def _server(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        yield connection
    finally:
        await connection.close()


async def counts(url: str, *tables: str) -> dict[str, int]:
    """How many rows each table has."""
    return {table: (await rows(url, f"SELECT count(*) FROM {table}"))[0][0] for table in tables}


async def refuse_inserts(url: str, table: str, condition: str) -> None:
    """Plant a trigger that refuses the rows for which ``condition`` on NEW holds."""
    if is_sqlite(url):
        await execute(
            url,
            f"CREATE TRIGGER planted BEFORE INSERT ON {table} WHEN {condition} "
            "BEGIN SELECT RAISE(ABORT, 'planted'); END",
        )
        return
    await execute(
        url,
        "CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'planted'; END $$",
        f"CREATE TRIGGER planted BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) "
        "EXECUTE FUNCTION planted()",
    )
