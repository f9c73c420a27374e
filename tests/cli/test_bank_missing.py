"""A bank whose database is gone: nothing is acknowledged, and no empty one begins in its place."""

from pathlib import Path

import httpx
import pytest

from guilder.db.engine import is_sqlite, sqlite_path
from tests.cli.serving import environment, run, serving
from tests.support import postgres
from tests.support.constants import ADA
from tests.support.sizes import postgres_in_ci
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def values(tmp_path: Path) -> dict[str, str]:
    """The settings of a bank that is made on first use, in its data folder."""
    return environment("", tmp_path)


def database_of(folder: Path) -> Path:
    return folder / "data" / "guilder.db"


def remove(database: Path) -> None:
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()


@pytest.mark.heavy
def test_files_removed_under_a_running_server_are_told_and_nothing_more_is_acknowledged(
    values: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path, values) as running:
        assert httpx.post(f"{running.base}/auth/signup", json=ADA).status_code == 201
        remove(database_of(tmp_path))
        other = {**ADA, "email": "grace@example.com"}
        answer = httpx.post(f"{running.base}/auth/signup", json=other)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        wait_until(lambda: running.get("/health").status_code == 503)
        assert running.get("/health").json()["checks"]["database"]["status"] == "unhealthy"
        (line, *_) = [one for one in running.lines() if one["event"] == "not committed"]
        assert "was removed while we run" in line["cause"]
        assert running.stop() == 0
    assert not database_of(tmp_path).exists()
    done = run(tmp_path, values, "serve", "--port", "0")
    assert done.returncode == 3
    assert "start an empty bank with --new" in done.stderr


@pytest.mark.heavy
def test_a_bank_that_was_there_does_not_start_empty_unless_told(
    values: dict[str, str], tmp_path: Path
) -> None:
    assert run(tmp_path, values, "migrate").returncode == 0
    remove(database_of(tmp_path))
    for command in (
        ["migrate"],
        ["create-admin", "--email", "a@b.example", "--password", "x" * 12],
    ):
        done = run(tmp_path, values, *command)
        assert done.returncode == 3
        assert str(tmp_path / "data" / "databases") in done.stderr
        assert done.stderr.rstrip().endswith("start an empty bank with --new")
        assert not database_of(tmp_path).exists()
    assert run(tmp_path, values, "migrate", "--new").returncode == 0


@pytest.mark.heavy
def test_a_postgres_database_that_was_made_anew_is_noticed(
    postgres_server: postgres.Server, tmp_path: Path
) -> None:
    url = postgres_server.clone("template0")
    values = environment(url, tmp_path)
    assert run(tmp_path, values, "migrate").returncode == 0
    name = postgres.name_of(url)
    postgres_server.execute(f"DROP DATABASE {name}", f"CREATE DATABASE {name} TEMPLATE template0")
    done = run(tmp_path, values, "migrate")
    assert done.returncode == 3
    assert f"/{name}, but {tmp_path}/data/databases says that there was one" in done.stderr
    assert run(tmp_path, values, "migrate", "--new").returncode == 0
    postgres_server.drop(url)


@postgres_in_ci
def test_a_first_start_that_was_killed_is_not_taken_for_a_bank(
    database_url: str, tmp_path: Path
) -> None:
    """What there is then: an empty file with its log, or nothing at all."""
    if is_sqlite(database_url):
        remove(sqlite_path(database_url))
        sqlite_path(database_url).touch()
        Path(f"{sqlite_path(database_url)}-wal").touch()
    done = run(tmp_path, environment(database_url, tmp_path), "migrate")
    assert done.returncode == 0
