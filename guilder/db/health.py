"""A row by which health proves that the database is written and read."""

from typing import Final

import asyncpg
from sqlalchemy import CheckConstraint, Column, Table, Update, select
from sqlalchemy.exc import SQLAlchemyError

from guilder.core.clock import Clock
from guilder.core.errors import Unavailable
from guilder.db.base import STRICT, Big, Small, metadata
from guilder.db.digests import no_digests
from guilder.db.engine import Database, raise_translated

ROW: Final = 0

health_row = Table(
    "health_row",
    metadata,
    Column("id", Small, primary_key=True, autoincrement=False),
    Column("written_at", Big, nullable=False),
    CheckConstraint("id = 0", name="single"),
    **STRICT,
)

no_digests(health_row, "it says nothing")


def touch(clock: Clock) -> Update:
    """The statement that writes the row."""
    return health_row.update().where(health_row.c.id == ROW).values(written_at=clock.now_us())


async def prove_writing(database: Database, clock: Clock) -> None:
    """Write the row, commit, and read it again. Raises ``Unavailable`` when that does not work."""
    ours = health_row.c.id == ROW
    try:
        async with database.begin() as connection:
            written = await connection.execute(touch(clock))
        async with database.view() as connection:
            found = await connection.scalar(select(health_row.c.written_at).where(ours))
    except (OSError, SQLAlchemyError, asyncpg.InterfaceError) as error:
        raise_translated(error)
    if written.rowcount != 1 or not found:
        raise Unavailable()
