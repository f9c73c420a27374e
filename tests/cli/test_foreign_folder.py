"""A database that the server could not write: not made, told at the start, and a 503."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.serving import environment, guilder, run
from tests.db import owner
from tests.support.app import app_on, bank_of, started
from tests.support.constants import ADA, API
from tests.support.sizes import postgres_in_ci

pytestmark = pytest.mark.integration
SOMEBODY = 12_345
ADMIN = ["create-admin", "--email", "a@b.example", "--password", "correct horse battery"]
SERVE = ["serve", "--port", "0"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make others' files")


def given_to_somebody(data: Path) -> None:
    """As the service's user has it."""
    data.mkdir(exist_ok=True)
    for path in (data, *data.rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)


def owners(data: Path) -> dict[str, int]:
    return {str(path.relative_to(data)): path.stat().st_uid for path in data.rglob("*")}


@needs_root
@pytest.mark.parametrize(
    "command", [ADMIN, ["migrate"], ["keys", "list"], ["keys", "rotate"], ["verify"], SERVE]
)
def test_root_makes_nothing_in_somebody_elses_folder(tmp_path: Path, command: list[str]) -> None:
    data = tmp_path / "data"
    given_to_somebody(data)
    done = guilder("", tmp_path, *command)
    assert done.exit_code == 3
    if command != ["verify"]:  # there is nothing to be verified
        assert f"{data} is not root's" in done.stderr
        assert f"--reuid={SOMEBODY}" in done.stderr
    assert list(data.iterdir()) == []


@needs_root
@postgres_in_ci
@pytest.mark.parametrize(
    "command", [ADMIN, ["verify"], ["keys", "rotate"], [*SERVE, "--workers", "2"]]
)
def test_root_adds_no_keys_and_no_run_directory_to_somebody_elses_bank(
    database_url: str, tmp_path: Path, command: list[str]
) -> None:
    """The database is there, in the folder or on a server; what is lacking would be root's."""
    data = tmp_path / "data"
    assert guilder(database_url, tmp_path, "migrate").exit_code == 0
    given_to_somebody(data)
    before = owners(data)
    done = guilder(database_url, tmp_path, *command)
    assert done.exit_code == 3
    assert f"{data} is not root's" in done.stderr
    assert owners(data) == before


@needs_root
def test_what_root_changes_in_somebody_elses_bank_stays_theirs(tmp_path: Path) -> None:
    """Where all is there already nothing has to be made, apart from SQLite's own files."""
    data = tmp_path / "data"
    assert guilder("", tmp_path, *ADMIN).exit_code == 0
    with closing(sqlite3.connect(data / "guilder.db")) as held:  # so that its log stays
        held.execute("SELECT count(*) FROM identity_users")
        given_to_somebody(data)
        done = guilder("", tmp_path, *ADMIN[:2], "b@b.example", *ADMIN[3:])
        assert (done.exit_code, done.stderr) == (0, "")
        assert "guilder.db-wal" in owners(data)
        assert set(owners(data).values()) == {SOMEBODY}


async def test_a_database_that_cannot_be_written_is_unavailable(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Not an error of ours: 503, with Retry-After."""
    app = app_on(sqlite_url, tmp_path)
    async with started(app) as client:
        async with bank_of(app).database.writer.connect() as connection:
            await connection.exec_driver_sql("PRAGMA query_only = ON")
        answer = await client.post(f"{API}/users", json=ADA)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_a_database_that_cannot_be_written_is_told_at_the_start(
    sqlite_url: str, tmp_path: Path
) -> None:
    planted = (
        "CREATE TRIGGER planted BEFORE UPDATE ON health_row BEGIN SELECT RAISE(ABORT, 'final'); END"
    )
    asyncio.run(owner.execute(sqlite_url, planted))
    done = run(tmp_path, environment(sqlite_url, tmp_path), "serve", "--port", "0")
    assert done.returncode == 3
    assert done.stderr.splitlines() == ["guilder: the database cannot be used: final"]
