from collections.abc import AsyncIterator

import pytest

from tests.domains.ledger.branch import Branch


@pytest.fixture
async def branch(database_url: str) -> AsyncIterator[Branch]:
    """A branch on a fresh database with the bank's own dollar accounts."""
    made = Branch(database_url)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def sister(branch: Branch) -> AsyncIterator[Branch]:
    """A second process on the same database."""
    made = Branch(branch.url)
    await made.start()
    yield made
    await made.close()
