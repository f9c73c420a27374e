"""A process of the bank for the tests: ``python -m tests.support.worker``.

Takes one job a line on its standard input and answers in lines of JSON: every reply to a client
the moment it arrives, then the job's end. A poster of its own, as each server process has.
"""

import asyncio
import json
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from guilder.core.clock import SystemClock
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting
from tests.support import defects
from tests.support.bank import ASSET, Bank, Reply, named
from tests.support.load import Client, Told


@dataclass(frozen=True)
class Job:
    """What a worker is told to do.

    ``starts`` gives the number of the first operation of each client; ``ops`` the number after the
    last, 0 for no end but ``seconds`` or the signal to stop. Clients rest for ``pause`` seconds
    between two operations. ``names`` is for a storm. On SQLite it may go past the writers' queue.
    """

    task: str
    url: str
    customers: list[int]
    seed: int = 0
    name: str = "w"
    mix: str = "anything"
    clients: int = 4
    starts: list[int] | None = None
    ops: int = 0
    seconds: float = 60.0
    pause: float = 0.0
    names: list[str] | None = None
    defect: str | None = None
    queues: bool = True

    def bank(self) -> Bank:
        return Bank(self.url, tuple(self.customers), 0, 0)


STOPPED = threading.Event()
"""Set by SIGUSR1: clients end their present operation and no more."""


def say(**message: Any) -> None:
    """One line, out of this process before the call returns."""
    os.write(1, json.dumps(message).encode() + b"\n")


def say_reply(reply: Reply) -> None:
    say(name=reply.name, rows=reply.rows)


async def load(job: Job, poster: Poster, stop: Callable[[], bool], told: Told) -> None:
    """Clients that do one operation after another."""
    starts = job.starts or [0] * job.clients

    async def run(client: int) -> None:
        number = starts[client]
        caller = Client(job.bank(), poster.submit, say_reply, told, stop)
        while not stop() and (job.ops == 0 or number < job.ops):
            await caller.operation(job.seed, f"{job.name}.{client}.{number}", job.mix)
            number += 1
            if job.pause:
                await asyncio.sleep(job.pause)

    await asyncio.gather(*[run(client) for client in range(job.clients)])


async def storm(job: Job, poster: Poster, stop: Callable[[], bool], told: Told) -> None:
    """Every name once, in the order given, many at a time."""
    waiting = list(reversed(job.names or []))
    caller = Client(job.bank(), poster.submit, say_reply, told, stop)

    async def run() -> None:
        while waiting and not stop():
            name = waiting.pop()
            draw = random.Random(f"{job.seed} {name}")
            debit, credit = draw.sample(job.customers, 2)
            await caller.call(named(name, [Posting(debit, credit, 1, ASSET)]), name)

    await asyncio.gather(*[run() for _ in range(job.clients)])


TASKS: dict[str, Callable[[Job, Poster, Callable[[], bool], Told], Awaitable[None]]] = {
    "load": load,
    "storm": storm,
}


async def work(job: Job) -> None:
    loop = asyncio.get_running_loop()
    STOPPED.clear()
    deadline = loop.time() + job.seconds
    told = Told()
    poster = Poster(defects.store(job.url, SystemClock(), job.defect, queues=job.queues))
    poster.start()
    say(started=os.getpid())
    await TASKS[job.task](job, poster, lambda: STOPPED.is_set() or loop.time() > deadline, told)
    await poster.stop()
    say(done=[told.troubles, told.refusals, told.accepted])


def main() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: STOPPED.set())
    say(ready=os.getpid())
    for line in sys.stdin:
        try:
            asyncio.run(work(Job(**json.loads(line))))
        except Exception:  # noqa: BLE001 - whatever a client would have seen is for the test to judge
            say(failed=traceback.format_exc())


if __name__ == "__main__":
    main()
