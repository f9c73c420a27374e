"""Append-only tables: what the models mark is what triggers keep, on both engines."""

from guilder.db.application_role import APPLICATION_ROLE
from guilder.db.base import is_append_only
from guilder.tables import metadata
from tests.db import owner
from tests.db.schema import refused, unprotected

MARKED = {table.name for table in metadata.tables.values() if is_append_only(table)}


async def test_every_marked_table_has_its_triggers_and_no_other_has(database_url: str) -> None:
    assert len(MARKED) >= 5
    assert unprotected(database_url, MARKED, await refused(database_url)) == set()


async def test_a_planted_mark_without_triggers_is_found(database_url: str) -> None:
    found = await refused(database_url)
    assert unprotected(database_url, {*MARKED, "outbox"}, found) == {"outbox"}


async def test_planted_triggers_without_a_mark_are_found(database_url: str) -> None:
    found = await refused(database_url)
    assert unprotected(database_url, MARKED - {"audit_events"}, found) == {"audit_events"}


async def test_a_planted_loss_of_a_trigger_is_found(database_url: str) -> None:
    table = "ledger_entries"
    if database_url.startswith("sqlite"):
        statements = [f"DROP TRIGGER {table}_no_{verb}" for verb in ("update", "delete")]
    else:
        ((role,),) = await owner.rows(database_url, APPLICATION_ROLE)
        statements = [
            f"GRANT UPDATE ON {table} TO {role}",
            f"ALTER TABLE {table} DISABLE TRIGGER {table}_is_final",
            f"DROP TRIGGER {table}_no_truncate ON {table}",
        ]
    for statement in statements:
        await owner.execute(database_url, statement)
        found = await refused(database_url)
        assert unprotected(database_url, MARKED, found) == {table}
