"""Migrations at start: one Alembic tree, run under a lock by whoever comes first."""

import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from guilder.db.engine import (
    check_sqlite_library,
    is_sqlite,
    make_sqlite_file,
    prepare_sqlite,
    sqlite_path,
)
from guilder.db.postgres import connect_postgres

_LOCK: Final = 0x6775696C646572  # "guilder"
_BESIDE: Final = Path(__file__).resolve().parents[1] / "migrations"
_SOURCE: Final = Path(__file__).resolve().parents[2] / "migrations"


class NewerDatabase(RuntimeError):
    """The database was written by a newer Guilder than this one."""


class OlderDatabase(RuntimeError):
    """The database has to be migrated before it is looked at."""


def config() -> Config:
    """Alembic's configuration: where the tree lies, inside the wheel or in the source."""
    found = Config()
    found.set_main_option("script_location", str(_BESIDE if _BESIDE.is_dir() else _SOURCE))
    found.set_main_option("path_separator", "os")
    return found


def allow() -> None:
    """An empty database may be filled."""


async def upgrade(
    url: str, revision: str = "head", *, before_first: Callable[[], None] = allow
) -> bool:
    """Bring the database to ``revision``; tells whether anything had to be done.

    Several processes may call it at once. ``before_first`` is called before anything is made where
    there is nothing, and may raise. Raises ``NewerDatabase`` for one newer than the code.
    """
    if is_sqlite(url) and not sqlite_path(url).exists():
        before_first()
    return await _locked(url, partial(_upgrade, before_first=before_first), revision)


async def downgrade(url: str, revision: str) -> None:
    """Take the database back to ``revision`` (``base`` is empty)."""
    await _locked(url, _downgrade, revision)


async def _locked(url: str, work: Any, revision: str) -> bool:
    engine = migration_engine(url)
    try:
        async with engine.begin() as connection:
            if not is_sqlite(url):
                await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
            done: bool = await connection.run_sync(work, revision)
            return done
    finally:
        await engine.dispose()


@functools.cache
def known_revisions() -> tuple[str, ...]:
    """What this version knows, the head first; whoever writes a migration clears the cache."""
    scripts = ScriptDirectory.from_config(config()).walk_revisions()
    return tuple(script.revision for script in scripts)


def expect_current(connection: Connection) -> None:
    """For who only looks: raises ``NewerDatabase`` or ``OlderDatabase`` for another schema."""
    current = _known_revision(connection)
    if current is None:
        raise OlderDatabase("there is no bank in the database: `guilder migrate` makes one")
    if current != known_revisions()[0]:
        raise OlderDatabase(
            f"the database is at revision {current}, older than this version: run `guilder migrate`"
        )


def _known_revision(connection: Connection) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known_revisions():
        raise NewerDatabase(f"the database is at revision {current}, which this version lacks")
    return current


def _upgrade(connection: Connection, revision: str, before_first: Callable[[], None]) -> bool:
    current = _known_revision(connection)
    if current is None:
        before_first()
    if revision == "head" and current == known_revisions()[0]:
        return False
    command.upgrade(_with(connection), revision)
    return True


def _downgrade(connection: Connection, revision: str) -> bool:
    command.downgrade(_with(connection), revision)
    return True


def _with(connection: Connection) -> Config:
    found = config()
    found.attributes["connection"] = connection
    return found


def migration_engine(url: str) -> AsyncEngine:
    """An engine that may change tables: the owner's rights, one transaction for all revisions."""
    if not is_sqlite(url):
        settings = {"application_name": "guilder-owner"}
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: connect_postgres(
                url, settings, steps_down=False, command_seconds=None
            ),
            poolclass=NullPool,
        )
    check_sqlite_library()
    make_sqlite_file(url)
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(sqlite_path(url))), poolclass=NullPool
    )
    event.listen(engine.sync_engine, "connect", _connect_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _connect_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    prepare_sqlite(connection.cursor())


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
