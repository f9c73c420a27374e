"""What in the database keeps history final: its triggers, and what the application's role may do.

Who may change tables can take these away, alter what they guarded and leave every row in order: so
``verify`` looks at them as it looks at rows.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, text

from guilder.db.append_only import sqlite_triggers
from guilder.db.application_role import APPLICATION_ROLE
from guilder.db.base import changing_columns, is_append_only, rows_stay
from guilder.db.unit_of_work import View

SQLITE_OTHERS: Final = {
    "audit_events_moves_head": (
        "CREATE TRIGGER audit_events_moves_head AFTER INSERT ON audit_events "
        "BEGIN UPDATE audit_head SET last_id = NEW.id, chain = NEW.chain; END"
    )
}
"""Triggers of SQLite that do more than refuse, as their migrations made them."""

FINAL_FUNCTION: Final = (
    "BEGIN RAISE EXCEPTION '%: history is final', TG_TABLE_NAME; END",
    "guilder_history_is_final",
)
"""Body and name of the function by which PostgreSQL's triggers refuse."""

_ROW_BEFORE_CHANGE: Final = 1 | 2 | 8 | 16
_BEFORE_TRUNCATE: Final = 2 | 32
_SWITCHED_ON: Final = ("O", "A")
_NONE: Final = "it is missing"
_ANOTHER: Final = "it is not the one that Guilder made"
_FOREIGN: Final = "Guilder did not make it"


class BrokenGuard(NamedTuple):
    """What should keep history final and does not: ``kind`` is trigger, table, role or setting."""

    kind: str
    name: str
    problem: str


async def broken_guard(view: View, tables: Iterable[Table]) -> BrokenGuard | None:
    """The first guard of these tables that is not as the migrations made it, None when all are."""
    tables = sorted(tables, key=lambda table: table.name)
    if view.dialect == "sqlite":
        return await _sqlite(view, tables)
    return await _postgres_triggers(view, tables) or await _postgres_rights(view, tables)


async def _sqlite(view: View, tables: list[Table]) -> BrokenGuard | None:
    found: dict[str, str] = dict(
        tuple(row)
        for row in await view.all(text("SELECT name, sql FROM sqlite_master WHERE type='trigger'"))
    )
    wanted = dict(SQLITE_OTHERS)
    for table in filter(is_append_only, tables):
        wanted |= sqlite_triggers(table.name)
    for name, statement in wanted.items():
        if (there := found.pop(name, None)) != statement:
            return BrokenGuard("trigger", name, _NONE if there is None else _ANOTHER)
    return next((BrokenGuard("trigger", name, _FOREIGN) for name in sorted(found)), None)


_RELATIONS: Final = text("""
SELECT c.relname, coalesce(whole.relname, c.relname) AS table_name, c.relrowsecurity,
       EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid) AS has_rules
  FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
  LEFT JOIN pg_class whole ON whole.oid = i.inhparent
 WHERE c.relkind IN ('r', 'p') AND c.relnamespace =
       (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('alembic_version'))
 ORDER BY c.relname""")

_TRIGGERS: Final = text("""
SELECT c.relname, t.tgname, t.tgtype, t.tgenabled::text AS enabled, p.proname, btrim(p.prosrc) src,
       t.tgqual IS NOT NULL AS is_conditional
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
 WHERE p.pronamespace <> 'pg_catalog'::regnamespace AND c.relnamespace =
       (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('alembic_version'))""")

_SWITCHED_OFF: Final = text("""
SELECT 1 FROM pg_db_role_setting s
 WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND array_to_string(s.setconfig, ' ') ~ 'session_replication_role=(replica|local)'""")


async def _postgres_triggers(view: View, tables: list[Table]) -> BrokenGuard | None:
    names = {table.name for table in tables}
    final = {table.name for table in filter(is_append_only, tables)}
    relations = [row for row in await view.all(_RELATIONS) if row.table_name in names]
    there = {(row.relname, row.tgname): row for row in await view.all(_TRIGGERS)}
    for relation in relations:
        if relation.has_rules or relation.relrowsecurity:
            return BrokenGuard("table", relation.relname, "rules or policies bend what it does")
        if relation.table_name in final:
            for name, kind in (
                (f"{relation.table_name}_is_final", _ROW_BEFORE_CHANGE),
                (f"{relation.relname}_no_truncate", _BEFORE_TRUNCATE),
            ):
                if problem := _bad_trigger(there.pop((relation.relname, name), None), kind):
                    return BrokenGuard("trigger", f"{name} of {relation.relname}", problem)
    ours = {row.relname for row in relations}
    for name, trigger in sorted(there):
        if name in ours:
            return BrokenGuard("trigger", f"{trigger} of {name}", _FOREIGN)
    if await view.scalar(_SWITCHED_OFF):
        return BrokenGuard("setting", "session_replication_role", "it switches triggers off")
    return None


def _bad_trigger(row: Any, kind: int) -> str | None:
    if row is None:
        return _NONE
    if row.enabled not in _SWITCHED_ON:
        return "it is switched off"
    same = (row.src, row.proname) == FINAL_FUNCTION and row.tgtype == kind
    return None if same and not row.is_conditional else _ANOTHER


_ROLE: Final = text(
    "SELECT r.rolname, r.rolsuper, pg_has_role(r.oid, c.relowner, 'MEMBER') AS is_owner "  # noqa: S608
    f"FROM ({APPLICATION_ROLE}) found JOIN pg_roles r ON r.rolname = found.rolname, pg_class c "
    "WHERE c.oid = to_regclass('alembic_version')"
)

_MAY: Final = text("""
SELECT c.relname, coalesce(whole.relname, c.relname) AS table_name,
       has_table_privilege(:role, c.oid, 'DELETE') AS deletes,
       has_table_privilege(:role, c.oid, 'TRUNCATE') AS truncates,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND has_column_privilege(:role, c.oid, a.attnum, 'UPDATE')) AS updates
  FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
  LEFT JOIN pg_class whole ON whole.oid = i.inhparent
 WHERE c.relkind IN ('r', 'p') AND c.relnamespace =
       (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('alembic_version'))
 ORDER BY c.relname""")


async def _postgres_rights(view: View, tables: list[Table]) -> BrokenGuard | None:
    role = await view.first(_ROLE)
    if role is None:  # this server allows none: the triggers alone protect history
        return None
    if role.rolsuper or role.is_owner:
        return BrokenGuard("role", role.rolname, "it may do whatever the owner may")
    by_name = {table.name: table for table in tables}
    for row in await view.all(_MAY, {"role": role.rolname}):
        table = by_name.get(row.table_name)
        if table is None or (changing := changing_columns(table)) is None:
            continue
        forbidden = sorted(set(row.updates) - set(changing))
        empties = row.truncates or (row.deletes and rows_stay(table))
        if empties or forbidden:
            verb = "delete rows" if empties else f"change {forbidden[0]}"
            return BrokenGuard("table", row.relname, f"the role {role.rolname} may {verb}")
    return None
