"""A look into the books from outside, to hold what was acknowledged against what was booked."""

import asyncio
from contextlib import closing
from pathlib import Path

import asyncpg
from pysqlite3 import dbapi2 as sqlite

HEAD = "SELECT sum(last_no) FROM ledger_head"
OPENED = "SELECT count(*) FROM accounts"


def last_number(url: str) -> int | None:
    """Return how many transfers the ledger has numbered; nothing if it has no such table."""
    return _number(url, HEAD)


def opened_accounts(url: str) -> int:
    """Return how many accounts there are; Guilder and the plain service name their table alike."""
    return _number(url, OPENED) or 0


def _number(url: str, query: str) -> int | None:
    """Return the one number that a query gives; nothing if there is no such table."""
    if url.startswith("postgresql"):
        return asyncio.run(_postgres_number(url, query))
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return None
    with closing(sqlite.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite.OperationalError:
            return None


async def _postgres_number(url: str, query: str) -> int | None:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(query))
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
