"""A process in the midst of a command: ``python -m tests.support.stuck ADDRESS``.

Two minutes ago, by its clock, it began a command that has written and will never end.
"""

import asyncio
import sys

from guilder.core.clock import MINUTE_US, FixedClock, SystemClock
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from tests.db.house import TELLER, Note, write_note


async def never_end(uow: UnitOfWork, cmd: Note) -> None:
    await write_note(uow, cmd)
    print("inside", flush=True)
    await asyncio.Event().wait()


async def main(url: str) -> None:
    clock = FixedClock(SystemClock().now_us() - 2 * MINUTE_US)
    await Runner(Database(url), clock).run(never_end, Note("lost"), TELLER)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
