"""The bank test: whole-bank totals while four processes transfer between hot accounts."""

import pytest

from tests.reliability.checks import check_bank
from tests.support.sizes import sizes, sqlite_in_ci
from tests.support.workers import Crew


@sqlite_in_ci
@sizes(300, 100_000)
@pytest.mark.heavy
async def test_totals_are_constant_in_every_read_while_four_processes_transfer(
    database_url: str, crew: Crew, size: int
) -> None:
    await check_bank(database_url, crew, size)
