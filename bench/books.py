"""A look into the books from outside, to hold what was acknowledged against what was booked."""

import asyncio
from contextlib import closing
from pathlib import Path

import asyncpg
from pysqlite3 import dbapi2 as sqlite

HEAD = "SELECT sum(last_no) FROM ledger_head"


def last_number(url: str) -> int | None:
    """Return how many transfers the ledger has numbered; nothing if it has no such table."""
    if url.startswith("postgresql"):
        return asyncio.run(_last_number(url))
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return None
    with closing(sqlite.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute(HEAD).fetchone()[0])
        except sqlite.OperationalError:
            return None


async def _last_number(url: str) -> int | None:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(HEAD))
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
