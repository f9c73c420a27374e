from collections.abc import AsyncIterator

import pytest

from tests.db.house import House


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    """A runner on a fresh database."""
    made = House(database_url)
    yield made
    await made.database.close()


@pytest.fixture
async def neighbour(database_url: str) -> AsyncIterator[House]:
    """A second process on the same database."""
    made = House(database_url)
    yield made
    await made.database.close()
