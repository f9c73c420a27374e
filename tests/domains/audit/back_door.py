"""A way to alter the audit trail that its triggers do not see."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.db.engine import Database, is_sqlite
from guilder.db.migrate import migration_engine


@asynccontextmanager
async def back_door(url: str) -> AsyncIterator[AsyncConnection]:
    """The owner, with the triggers out of the way, in a transaction that is rolled back."""
    engine = Database(url).writer if is_sqlite(url) else migration_engine(url)
    async with engine.connect() as connection:
        await connection.begin()
        if is_sqlite(url):
            for name in ("no_update", "no_delete"):
                await connection.execute(text(f"DROP TRIGGER audit_events_{name}"))
        else:
            await connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
        yield connection
        await connection.rollback()
    await engine.dispose()
