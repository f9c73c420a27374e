"""Audit trails as earlier versions have written them."""

from sqlalchemy import text

from guilder.db.append_only import sqlite_triggers
from guilder.db.audit import audit_chain_hash, audit_events, content
from guilder.db.engine import is_sqlite
from guilder.db.migrate import migration_engine


async def forget_digests(url: str) -> None:
    """Make a trail without keys one from before digests, with the hashes that it would have."""
    engine, triggers = migration_engine(url), sqlite_triggers("audit_events")
    off = [f"DROP TRIGGER {name}" for name in triggers]
    on = list(triggers.values())
    if not is_sqlite(url):
        off = ["ALTER TABLE audit_events DISABLE TRIGGER USER"]
        on = ["ALTER TABLE audit_events ENABLE TRIGGER USER"]
    async with engine.begin() as connection:
        for statement in off:
            await connection.execute(text(statement))
        await connection.execute(audit_events.update().values(digests=None))
        chain = bytes(32)
        rows = (await connection.execute(audit_events.select().order_by("id"))).mappings().all()
        for row in rows:
            chain = audit_chain_hash(chain, row["id"], content(dict(row)))
            await connection.execute(
                audit_events.update().where(audit_events.c.id == row["id"]).values(chain=chain)
            )
        await connection.execute(text("UPDATE audit_head SET chain = :c"), {"c": chain})
        for statement in on:
            await connection.execute(text(statement))
    await engine.dispose()
