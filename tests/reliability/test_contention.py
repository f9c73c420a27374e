"""The same keys from everywhere at once, and transfers that run against each other."""

import pytest

from tests.reliability.checks import Storm, check_opposed, check_storm
from tests.support.sizes import sizes, sqlite_in_ci
from tests.support.workers import Crew


@sqlite_in_ci
@sizes(Storm(300), Storm(20_000))
async def test_five_copies_of_a_key_from_four_processes_make_one_transfer(
    database_url: str, crew: Crew, size: Storm
) -> None:
    await check_storm(database_url, crew, size)


@sqlite_in_ci
@sizes(1_500, 100_000)
@pytest.mark.heavy
async def test_opposed_transfers_from_four_processes_never_deadlock(
    database_url: str, crew: Crew, size: int
) -> None:
    await check_opposed(database_url, crew, size)
