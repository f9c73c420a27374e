"""What a database has of tables, indexes and triggers, to be held against the models."""

import re
from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from guilder.db.application_role import APPLICATION_ROLE
from guilder.db.engine import is_sqlite
from guilder.db.migrate import migration_engine
from guilder.tables import metadata
from tests.db import owner


def differences(connection: Connection) -> list[Any]:
    def ours(name: str | None, kind: str, _parents: object) -> bool:
        partition = name is not None and name.startswith(
            ("ledger_transfers_p", "ledger_transfers_rest")
        )
        return not (kind == "table" and partition) and name != "alembic_version"

    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "include_name": ours}
    )
    return list(compare_metadata(context, metadata))


async def in_owner(url: str, look: Callable[[Connection], Any]) -> Any:
    engine = migration_engine(url)
    async with engine.begin() as connection:
        found = await connection.run_sync(look)
    await engine.dispose()
    return found


SQLITE_CATALOGUE = (
    "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL "
    "AND name NOT IN ('alembic_version', 'sqlite_sequence')",
)
POSTGRES_CATALOGUE = (
    # Constraints, indexes and storage options, without those of partitions.
    "SELECT c.conname || '.' || c.conrelid::regclass::text, pg_get_constraintdef(c.oid) "
    "FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid "
    "WHERE c.connamespace = 'public'::regnamespace AND NOT t.relispartition "
    "AND t.relname <> 'alembic_version'",
    "SELECT i.relname, pg_get_indexdef(i.oid) FROM pg_class i "
    "WHERE i.relkind IN ('i', 'I') AND i.relnamespace = 'public'::regnamespace "
    "AND NOT i.relispartition AND i.relname <> 'alembic_version_pkc'",
    "SELECT relname, relkind::text || coalesce(reloptions::text, '') FROM pg_class "
    "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
    "AND NOT relispartition AND relname <> 'alembic_version'",
)


async def catalogue(url: str) -> dict[str, list[str]]:
    """What the database says it has, in an order that does not depend on who made it."""
    queries = SQLITE_CATALOGUE if is_sqlite(url) else POSTGRES_CATALOGUE
    return {
        name: sorted(filter(None, map(str.strip, re.split(r",(?![^(]*\))|\n", sql))))
        for query in queries
        for name, sql in [(n, _plain(s)) for n, s in await owner.rows(url, query)]
    }


def _plain(sql: str) -> str:
    """Without quotes, the end of a table on a line of its own: SQLite adds columns before it."""
    return sql.replace('"', "").replace(") STRICT", "\n) STRICT")


SQLITE_FINAL = (
    "SELECT tbl_name, 'UPDATE' FROM sqlite_master WHERE type = 'trigger' "
    "AND sql LIKE '% BEFORE UPDATE ON %RAISE(ABORT%history is final%' UNION ALL "
    "SELECT tbl_name, 'DELETE' FROM sqlite_master WHERE type = 'trigger' "
    "AND sql LIKE '% BEFORE DELETE ON %RAISE(ABORT%history is final%'"
)
POSTGRES_FINAL = f"""
WITH final AS (
  -- Those of partitions are their table's.
  SELECT c.oid, c.relname, t.tgtype FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_proc p ON p.oid = t.tgfoid
   WHERE p.proname = 'guilder_history_is_final' AND t.tgenabled = 'O' AND NOT c.relispartition
), verbs (verb, bits) AS (VALUES ('DELETE', 2 | 8), ('UPDATE', 2 | 16), ('TRUNCATE', 2 | 32))
SELECT relname, verb FROM final, verbs WHERE tgtype & bits = bits
UNION
SELECT relname, 'but the application may ' || verb FROM final, verbs
 WHERE has_table_privilege(({APPLICATION_ROLE}), oid, verb)"""


async def refused(url: str) -> dict[str, set[str]]:
    """Which statements triggers refuse, by table."""
    found: dict[str, set[str]] = {}
    query = SQLITE_FINAL if is_sqlite(url) else POSTGRES_FINAL
    for table, verb in await owner.rows(url, query):
        found.setdefault(table, set()).add(verb)
    return found


def unprotected(url: str, marked: set[str], found: dict[str, set[str]]) -> set[str]:
    """Tables that are marked and not refused everything, or the other way round."""
    every = {"UPDATE", "DELETE"} if is_sqlite(url) else {"UPDATE", "DELETE", "TRUNCATE"}
    wanted = {table: every if table in marked else set() for table in marked | set(found)}
    return {table for table, verbs in wanted.items() if found.get(table, set()) != verbs}
