"""A bank with nobody in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.clock import FixedClock
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.identity.services.authentication import AuthenticationService
from tests.domains.identity.doors import gate_of
from tests.support.app import app_on, started

NOW = 1_800_000_000_000_000


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> FastAPI:
    return app_on(database_url, tmp_path)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
async def runner(database_url: str, clock: FixedClock) -> AsyncIterator[Runner]:
    database = Database(database_url)
    yield Runner(database, clock)
    await database.close()


@pytest.fixture
def auth(runner: Runner, clock: FixedClock) -> AuthenticationService:
    return gate_of(runner, clock)
