"""A process that delivers, for the tests: ``python -m tests.support.deliverer URL FILE SEED``.

Each call is written as a line into FILE when it has taken effect. By SEED some calls fail, and in
some the process kills itself, before the effect or after it and before anything is recorded.
"""

import asyncio
import logging
import os
import random
import signal
import sys

from guilder.core.clock import SystemClock
from guilder.core.events import Delivery
from guilder.db.deliveries import Deliveries
from guilder.db.engine import Database
from guilder.infra.process.dispatcher import Dispatcher, RetryPolicy

PATIENCE = RetryPolicy(
    call_timeout_seconds=5, lease_seconds=1.0, initial_backoff_seconds=0.01,
    max_backoff_seconds=0.05, max_attempts=10_000, concurrency=4,
)  # fmt: skip
FAILS, DIES_BEFORE, DIES_AFTER = 0.15, 0.02, 0.02


class Planned:
    """Does what the seed says."""

    def __init__(self, file: int, seed: str) -> None:
        self._file = file
        self._draw = random.Random(seed)

    async def __call__(self, delivery: Delivery) -> None:
        self._perhaps_die(DIES_BEFORE)
        await asyncio.sleep(self._draw.uniform(0, 0.003))
        if self._draw.random() < FAILS:
            raise RuntimeError("planned")
        line = [delivery.subscriber, delivery.stream, delivery.payload["number"], delivery.key]
        os.write(self._file, (" ".join(map(str, line)) + "\n").encode())
        self._perhaps_die(DIES_AFTER)

    def _perhaps_die(self, how_often: float) -> None:
        if self._draw.random() < how_often:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, path: str, seed: str) -> None:
    logging.disable()  # a planned failure is no news
    deliveries = Deliveries(Database(url), SystemClock())
    dispatcher = Dispatcher(deliveries, ("mail", "log"), PATIENCE)
    handle = Planned(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), seed)
    while True:
        await asyncio.gather(*[dispatcher.deliver_to(name, handle) for name in ("mail", "log")])
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
