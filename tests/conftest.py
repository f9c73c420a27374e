"""What all tests share: markers from file names, and two real databases after real migrations."""

import asyncio
import gc
import os
import shutil
from collections.abc import Collection, Generator, Iterator
from functools import partial
from pathlib import Path

import hypothesis
import pytest

from guilder.db.migrate import upgrade
from guilder.infra.security.passwords import Argon2Passwords
from tests.support import postgres, purity
from tests.support.redis_server import RedisServer
from tests.support.shared import shared
from tests.support.waiting import LONG

hypothesis.settings.register_profile("few", max_examples=25)

_POSTGRES = "TEST_POSTGRES_FOLDER"
_MEMORY, _ENOUGH = Path("/dev/shm"), 4 * 2**30
_KINDS = ("unit", "integration", "api", "house")
_BY_NAME = {"rules": "unit", "commands": "integration", "queries": "integration", "routes": "api"}
_OUTSIDE = {"aws", "database_url", "postgres_server", "redis_server", "sqlite_template", "tmp_path"}
"""Fixtures that no unit test has."""


def pytest_configure(config: pytest.Config) -> None:
    """The first process chooses where databases are; the workers inherit it.

    In memory, where there is enough: no disk is waited for then when they are synced.
    """
    if not hasattr(config, "workerinput"):
        if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH:
            os.environ.setdefault(postgres.FOLDERS, str(_MEMORY))
        os.environ[_POSTGRES] = str(postgres.new_folder())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(Path(os.environ.pop(_POSTGRES)).parent, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in _KINDS):
            item.add_marker(_kind(item))
        if item.get_closest_marker("api") and "postgres" in _params(item):
            item.add_marker("heavy")


def _params(item: pytest.Item) -> Collection[object]:
    callspec = getattr(item, "callspec", None)
    return () if callspec is None else tuple(callspec.params.values())


def _kind(item: pytest.Item) -> str:
    """By the folder, the name of the file, or what the test asks for; else it is a unit test."""
    if item.path.parent.name == "house":
        return "house"
    if (kind := _BY_NAME.get(item.path.stem.rsplit("_", 1)[-1])) is not None:
        return kind
    return "unit" if _OUTSIDE.isdisjoint(getattr(item, "fixturenames", ())) else "integration"


def pytest_collection_finish() -> None:
    """What stays to the end is not looked through for garbage again and again: a tenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A unit test that leaves the process fails."""
    if item.get_closest_marker("unit") is None:
        return (yield)
    with purity.watched():
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Banks in this process hash at no cost; ``dear_passwords`` is for tests of what it costs."""
    cheap = partial(Argon2Passwords, memory_kib=64, time_cost=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guilder.bootstrap.Argon2Passwords", cheap)
        yield


@pytest.fixture(scope="session", autouse=True)
def _shared() -> Iterator[None]:
    """Most of what a start takes is the same for every bank."""
    with shared():
        yield


@pytest.fixture
def dear_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Banks in this process hash as in production."""
    monkeypatch.setattr("guilder.bootstrap.Argon2Passwords", Argon2Passwords)


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
    shutil.copy(sqlite_template, path)
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
def redis_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis of one's own; on a busy machine it is slow, which is not what is tested."""
    monkeypatch.setattr("guilder.infra.security.redis_limits.ANSWER_SECONDS", LONG)
    server = RedisServer(tmp_path)
    yield server
    server.kill()
