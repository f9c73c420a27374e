"""``kill -9`` between a command's ATTEMPTED and its commit, or those of a group."""

import asyncio
import sys

import pytest

from guilder.verification import verify_database
from tests.db.house import TELLER, House, Note, write_note
from tests.support.workers import ROOT


@pytest.mark.parametrize("count", [1, 3])
async def test_a_killed_command_leaves_its_attempt_and_verify_tells_of_it(
    database_url: str, count: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.stuck", database_url, str(count),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == f"inside {count}\n".encode()
    process.kill()
    await process.wait()

    house = House(database_url)
    assert await house.phases() == [("attempted", None)] * count
    assert await house.notes() == []
    found = await verify_database(database_url)
    assert found.broken is None
    assert found.audit.open_attempts == count
    attempt = found.audit.open[-1]
    assert (attempt.number, attempt.action, attempt.actor) == (1, "test.note", "system")
    assert f"{attempt.at} test.note by system (row 1, request req-1)" in "\n".join(found.lines())

    await house.runner.run(write_note, Note("the bank goes on"), TELLER)
    found = await verify_database(database_url)
    assert (found.broken, found.audit.number, found.audit.open_attempts) == (None, count + 2, count)
    await house.database.close()
