"""A bank with nobody in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.support.app import app_on, started


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> FastAPI:
    return app_on(database_url, tmp_path)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client
