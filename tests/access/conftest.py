"""The world of the tests of access: made once on either engine, and copied for each test."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guilder.db.engine import sqlite_path
from tests.access.making import make
from tests.access.world import Facts, World
from tests.support import postgres
from tests.support.app import app_on, started

type Copy = tuple[str, Facts]
"""The address of a copy, and what is in it."""


@pytest.fixture(scope="session")
def sqlite_facts(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    folder = tmp_path_factory.mktemp("world")
    shutil.copyfile(sqlite_template, folder / "guilder.db")
    return asyncio.run(make(f"sqlite:///{folder / 'guilder.db'}", folder))


@pytest.fixture(scope="session")
def postgres_facts(
    postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Facts]:
    url = postgres_server.clone()
    yield asyncio.run(make(url, tmp_path_factory.mktemp("world")))
    postgres_server.drop(url)


@pytest.fixture
def sqlite_copy(sqlite_facts: Facts, tmp_path: Path) -> Copy:
    path = tmp_path / "guilder.db"
    shutil.copyfile(sqlite_path(sqlite_facts.url), path)
    return f"sqlite:///{path}", sqlite_facts


@pytest.fixture
def postgres_copy(postgres_server: postgres.Server, postgres_facts: Facts) -> Iterator[Copy]:
    url = postgres_server.clone(postgres.name_of(postgres_facts.url))
    yield url, postgres_facts
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgres"])
def copy(request: pytest.FixtureRequest) -> Copy:
    made: Copy = request.getfixturevalue(f"{request.param}_copy")
    return made


@pytest.fixture
async def world(copy: Copy) -> AsyncIterator[World]:
    """Everybody has proved just now who they are, however long ago the world was made."""
    url, facts = copy
    app = app_on(url, facts.folder)
    async with started(app) as client:
        world = World(app, client, facts)
        await world.prove()
        yield world
