"""The doors of a bank whose time stands still."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guilder.core.clock import FixedClock
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.identity.services.authentication import AuthenticationService
from tests.domains.identity.doors import gate_of
from tests.domains.identity.mailbox import Mailbox
from tests.support.constants import NOW


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


@pytest.fixture
def box(tmp_path: Path) -> Mailbox:
    """Where the letters of a bank with mail go, see ``with_mail``."""
    return Mailbox(tmp_path / "mail")
