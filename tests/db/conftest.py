from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.db.house import House
from tests.support import postgres


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/made/for/it/guilder.db"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    url = server.clone("template0")
    yield url
    server.drop(url)


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
