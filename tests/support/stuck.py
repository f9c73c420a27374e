"""A process in the midst of commands: ``python -m tests.support.stuck ADDRESS COUNT``.

Two minutes ago, by its clock, it began a group of commands that have written and will never end.
"""

import asyncio
import sys
from collections.abc import Sequence

from guilder.core.clock import MINUTE_US, FixedClock, SystemClock
from guilder.core.result import Ok
from guilder.db.calls import Asked, SetBased
from guilder.db.engine import Database
from guilder.db.run import Runner
from tests.db.house import TELLER, Note, write_note


async def never_end(asked: Sequence[Asked[Note]]) -> list[Ok[str]]:
    done = [Ok(await write_note(*one)) for one in asked]
    print("inside", len(done), flush=True)
    await asyncio.Event().wait()
    return done


async def main(url: str, count: int) -> None:
    clock = FixedClock(SystemClock().now_us() - 2 * MINUTE_US)
    runner, handler = Runner(Database(url), clock), SetBased(never_end)
    await asyncio.gather(*[runner.run(handler, Note("lost"), TELLER) for _ in range(count)])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
