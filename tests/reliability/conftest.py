"""Worker processes that outlive a test, and a second database on the same engine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guilder.db.engine import is_sqlite
from tests.support.postgres import Server
from tests.support.workers import Crew


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Real processes; started by the first test that needs them."""
    people = Crew()
    yield people
    people.close()


@pytest.fixture
def another_url(request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    """A second empty database on the engine of ``database_url``."""
    if is_sqlite(database_url):
        template: Path = request.getfixturevalue("sqlite_template")
        folder: Path = request.getfixturevalue("tmp_path")
        shutil.copy(template, folder / "another.db")
        yield f"sqlite:///{folder}/another.db"
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = server.clone()
    yield url
    server.drop(url)
