"""The bank over HTTP, once on either database, with nobody in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.support.app import app_on, started
from tests.support.teller import Desk, opened_desk


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> FastAPI:
    return app_on(database_url, tmp_path)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A bank in business that nobody banks with yet."""
    async with opened_desk(database_url, tmp_path) as desk:
        yield desk
