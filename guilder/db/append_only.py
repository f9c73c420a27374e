"""Triggers of the tables that only grow, for migrations. What they do is for ever: old migrations
call them too. ``guilder_history_is_final`` and the role come from the first migration.
"""

from alembic import op

from guilder.db.application_role import for_the_application


def sqlite_triggers(table: str) -> dict[str, str]:
    """What makes SQLite refuse, by the names of the triggers."""
    return {
        f"{table}_no_{verb.lower()}": (
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table}: history is final'); END"
        )
        for verb in ("UPDATE", "DELETE")
    }


def protect(table: str) -> None:
    """Refuse UPDATE, DELETE and TRUNCATE of a table that is marked ``APPEND_ONLY``."""
    if op.get_bind().dialect.name == "sqlite":
        for statement in sqlite_triggers(table).values():
            op.execute(statement)
        return
    for name, verbs, each in (
        ("is_final", "UPDATE OR DELETE", "ROW"),
        ("no_truncate", "TRUNCATE", "STATEMENT"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_{name} BEFORE {verbs} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION guilder_history_is_final()"
        )
    for_the_application(f"REVOKE UPDATE, DELETE ON {table} FROM guilder_app")


def unprotect(table: str) -> None:
    """Take back ``protect``."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER {table}_no_{verb}")
        return
    for name in ("is_final", "no_truncate"):
        op.execute(f"DROP TRIGGER {table}_{name} ON {table}")
    for_the_application(f"GRANT UPDATE, DELETE ON {table} TO guilder_app")
