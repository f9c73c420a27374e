"""At a start: waiting for a database that is away, still starting, or being made by another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from guilder.db.engine import is_sqlite, may_come
from guilder.db.postgres import connect_postgres

AGAIN_SECONDS: Final = 0.5
TELL_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


async def wait_for_database[T](work: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Do the work, again as long as the database may yet come, for at most so many ``seconds``.

    What it waits for is logged at once and every ``TELL_SECONDS``. Raises what the last try did.
    """
    begun = monotonic()
    tell_at = begun
    while True:
        try:
            return await work()
        except (OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
            now = monotonic()
            if not may_come(error) or now - begun >= seconds:
                raise
            if now >= tell_at:
                tell_at = now + TELL_SECONDS
                fields = {"cause": _cause(error), "seconds_left": round(seconds - (now - begun))}
                _log.warning("waiting for the database", extra={"fields": fields})
        await asyncio.sleep(AGAIN_SECONDS)


async def reach_database(url: str, seconds: float) -> None:
    """For commands that begin without migrating: wait for the server in the same way.

    SQLite has none. Raises what the last try did.
    """
    if not is_sqlite(url):
        await wait_for_database(partial(_knock, url), seconds)


async def _knock(url: str) -> None:
    connection = await connect_postgres(url, {}, steps_down=False)
    await connection.close()


def _cause(error: Exception) -> str:
    """In a line, without a statement and its parameters."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    return str(orig).partition("\n")[0] or type(orig).__name__
