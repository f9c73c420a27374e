"""The bank over HTTP, once on either database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.domains.accounts.teller import Desk, opened_desk


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A bank in business that nobody banks with yet."""
    async with opened_desk(database_url, tmp_path) as desk:
        yield desk
