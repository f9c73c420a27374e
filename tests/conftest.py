"""What all tests share: markers from file names, and two real databases after real migrations."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guilder.db.migrate import upgrade
from tests.support import postgres
from tests.support.redis_server import RedisServer

_POSTGRES = "TEST_POSTGRES_FOLDER"
_BY_NAME = {"rules": "unit", "commands": "integration", "queries": "integration", "routes": "api"}


def pytest_configure(config: pytest.Config) -> None:
    """The first process chooses the shared server's folder; the workers inherit it."""
    if not hasattr(config, "workerinput"):
        os.environ[_POSTGRES] = str(postgres.new_folder())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(Path(os.environ.pop(_POSTGRES)).parent, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.stem.rsplit("_", 1)[-1]
        marker = _BY_NAME.get(kind)
        if marker is None and "fixturenames" in dir(item):
            names = getattr(item, "fixturenames", ())
            marker = "integration" if "database_url" in names else "unit"
        item.add_marker(getattr(pytest.mark, marker or "unit"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """The run's shared server, fast rather than durable; whoever comes first starts it."""
    folder = postgres.make_folder(Path(os.environ[_POSTGRES]))
    server = postgres.Server(folder)
    server.configure(*postgres.FAST)
    server.ensure_template()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "guilder.db"
    asyncio.run(upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated SQLite database."""
    path = tmp_path / "guilder.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A fresh migrated PostgreSQL database."""
    url = postgres_server.clone()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database, once on either engine."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of one's own."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()
