"""``kill -9`` of the application's processes under load."""

from tests.reliability.checks import check_killed_workers
from tests.support.sizes import sizes, sqlite_in_ci
from tests.support.workers import Crew


@sqlite_in_ci
@sizes(5, 500)
async def test_nothing_acknowledged_is_lost_or_doubled_when_workers_are_killed(
    database_url: str, crew: Crew, size: int
) -> None:
    await check_killed_workers(database_url, crew, size)
