"""``kill -9`` between a command's ATTEMPTED and its commit."""

import asyncio
import sys

from guilder.verification import verify_database
from tests.db.house import TELLER, House, Note, write_note
from tests.support.workers import ROOT


async def test_a_killed_command_leaves_its_attempt_and_verify_tells_of_it(
    database_url: str,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.stuck", database_url,
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"inside\n"
    process.kill()
    await process.wait()

    house = House(database_url)
    assert await house.phases() == [("attempted", None)]
    assert await house.notes() == []
    found = await verify_database(database_url)
    assert found.broken is None
    assert found.audit.open_attempts == 1
    (attempt,) = found.audit.open
    assert (attempt.number, attempt.action, attempt.actor) == (1, "test.note", "system")
    assert f"{attempt.at} test.note by system (row 1, request req-1)" in "\n".join(found.lines())

    await house.runner.run(write_note, Note("the bank goes on"), TELLER)
    found = await verify_database(database_url)
    assert (found.broken, found.audit.number, found.audit.open_attempts) == (None, 3, 1)
    await house.database.close()
