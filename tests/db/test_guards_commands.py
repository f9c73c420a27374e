"""Triggers and rights that keep history final are looked at, and each that is gone is named."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.db.application_role import APPLICATION_ROLE
from guilder.db.base import is_append_only, rows_stay
from guilder.db.engine import Database
from guilder.db.guards import BrokenGuard, broken_guard
from guilder.db.migrate import migration_engine
from guilder.db.unit_of_work import View
from guilder.tables import metadata

FINAL = sorted(table.name for table in metadata.tables.values() if is_append_only(table))
STAY = sorted(table.name for table in metadata.tables.values() if rows_stay(table))
ALTERED = sorted(
    (table.name, column.name)
    for table in metadata.tables.values()
    if (changing := table.info.get("only_changes", () if is_append_only(table) else None))
    is not None
    for column in table.c
    if column.name not in changing
)


@asynccontextmanager
async def as_owner(url: str) -> AsyncIterator[AsyncConnection]:
    engine = migration_engine(url)
    async with engine.connect() as connection:
        await connection.begin()
        yield connection
        await connection.rollback()
    await engine.dispose()


async def after(url: str, statements: Sequence[str]) -> BrokenGuard | None:
    """The guard that is named when the owner has done these."""
    async with as_owner(url) as connection:
        for statement in statements:
            await connection.execute(text(statement))
        return await broken_guard(View(connection, 0), metadata.tables.values())


async def test_guards_are_whole_after_every_migration(database_url: str) -> None:
    assert await after(database_url, ()) is None


@pytest.mark.parametrize("table", FINAL)
async def test_each_trigger_of_sqlite_that_is_gone_is_named(sqlite_url: str, table: str) -> None:
    for verb in ("update", "delete"):
        found = await after(sqlite_url, [f"DROP TRIGGER {table}_no_{verb}"])
        assert found == ("trigger", f"{table}_no_{verb}", "it is missing")
        hollow = (
            f"DROP TRIGGER {table}_no_{verb}",
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} BEGIN SELECT 1; END",
        )
        found = await after(sqlite_url, hollow)
        assert found == ("trigger", f"{table}_no_{verb}", "it is not the one that Guilder made")


async def test_a_trigger_of_sqlite_that_somebody_added_is_named(sqlite_url: str) -> None:
    added = (
        "CREATE TRIGGER more AFTER INSERT ON ledger_entries "
        "BEGIN UPDATE ledger_balances SET credits = credits + 1; END"
    )
    assert await after(sqlite_url, [added]) == ("trigger", "more", "Guilder did not make it")
    gone = await after(sqlite_url, ["DROP TRIGGER audit_events_moves_head"])
    assert gone == ("trigger", "audit_events_moves_head", "it is missing")


@pytest.mark.parametrize("table", [*FINAL, "ledger_transfers_p00", "ledger_transfers_rest"])
async def test_each_trigger_of_postgres_that_is_gone_is_named(
    postgres_url: str, table: str
) -> None:
    whole = "ledger_transfers" if table.startswith("ledger_transfers") else table
    for name in (f"{whole}_is_final", f"{table}_no_truncate"):
        off = await after(postgres_url, [f"ALTER TABLE ONLY {table} DISABLE TRIGGER {name}"])
        assert off == ("trigger", f"{name} of {table}", "it is switched off")
        if table == whole:
            gone = await after(postgres_url, [f"DROP TRIGGER {name} ON {table}"])
            assert gone == ("trigger", f"{name} of {table}", "it is missing")


POSTGRES: dict[str, tuple[str, str]] = {
    "CREATE OR REPLACE FUNCTION guilder_history_is_final() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RETURN NEW; END $$": ("trigger", "it is not the one that Guilder made"),
    "CREATE RULE nothing AS ON INSERT TO ledger_batches DO INSTEAD NOTHING": (
        "table", "rules or policies bend what it does",
    ),
    "ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY": (
        "table", "rules or policies bend what it does",
    ),
    "CREATE TRIGGER more BEFORE INSERT ON ledger_entries "
    "FOR EACH ROW EXECUTE FUNCTION guilder_history_is_final()": (
        "trigger", "Guilder did not make it",
    ),
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', "
    "current_database()); END $$": ("setting", "it switches triggers off"),
}  # fmt: skip
"""What can be done to triggers past their names."""


@pytest.mark.parametrize("statement", POSTGRES)
async def test_triggers_of_postgres_that_are_bent_are_named(
    postgres_url: str, statement: str
) -> None:
    found = await after(postgres_url, [statement])
    assert found is not None
    assert (found.kind, found.problem) == POSTGRES[statement]


async def test_every_right_that_the_application_lacks_is_missed_when_granted(
    postgres_url: str,
) -> None:
    async with as_owner(postgres_url) as connection:
        role = await connection.scalar(text(APPLICATION_ROLE))
    assert role is not None
    rights = [("DELETE", "delete rows", table) for table in STAY]
    rights += [(f"UPDATE ({column})", f"change {column}", table) for table, column in ALTERED]
    rights.append(("TRUNCATE", "delete rows", "ledger_transfers_p03"))
    for right, may, table in rights:
        found = await after(postgres_url, [f"GRANT {right} ON {table} TO {role}"])
        assert found == ("table", table, f"the role {role} may {may}"), (right, table)


async def test_the_application_cannot_change_what_never_changes(postgres_url: str) -> None:
    database = Database(postgres_url)
    statements = [f"UPDATE {table} SET {column} = {column}" for table, column in ALTERED]
    statements += [f"DELETE FROM {table}" for table in STAY]
    for statement in statements:
        with pytest.raises(DBAPIError, match="permission denied"):
            async with database.begin() as connection:
                await connection.execute(text(statement))
    await database.close()
