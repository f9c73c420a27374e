"""A database that the server could not write: not made, told at the start, and a 503."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.cli.serving import environment, run
from tests.db import owner
from tests.support.app import app_on, bank_of, started
from tests.support.constants import ADA, API

pytestmark = pytest.mark.integration
SOMEBODY = 12_345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make others' files")


@needs_root
def test_root_makes_no_database_in_somebody_elses_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, SOMEBODY, SOMEBODY)
    values = environment("", tmp_path)
    for command in (
        ["create-admin", "--email", "a@b.example", "--password", "correct horse battery"],
        ["migrate"],
    ):
        done = run(tmp_path, values, *command)
        assert done.returncode == 3
        assert f"{data} is not root's" in done.stderr
        assert f"--reuid={SOMEBODY}" in done.stderr
        assert list(data.iterdir()) == []


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
