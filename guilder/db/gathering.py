"""What arrives together is done together: one round of work in flight a process, and no timer.

When idle, work begins at once; while some is in flight, all that arrives is the next round. A
caller that goes away drops its answer, never the work.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from typing import Final

MOST: Final = 128
"""Of what is done in one round: it bounds how long a round, and the locks it takes, may last."""


class Gatherer[A, B]:
    """Hands what arrives together to ``work``, which answers in order.

    An answer that is an exception is raised for its caller alone. Where some of those that wait
    are ``ready`` the others let them go first.
    """

    def __init__(
        self,
        work: Callable[[list[A]], Awaitable[Sequence[B | Exception]]],
        ready: Callable[[A], bool] = lambda _: True,
    ) -> None:
        self._work = work
        self._ready = ready
        self._waiting: deque[tuple[A, asyncio.Future[B]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: A) -> B:
        """The answer, once the round that had the item in it is over."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[B] = loop.create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            # A context of its own: no request's trace is to show what is done for many.
            self._task = loop.create_task(self._rounds(), name="gatherer", context=Context())
        return await future

    @property
    def waiting(self) -> list[A]:
        """What is not in flight, as much of it as a round takes."""
        return [item for item, _ in islice(self._waiting, MOST)]

    async def drain(self) -> None:
        """Wait until nothing is in flight or waits, whoever has gone away meanwhile."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _rounds(self) -> None:
        taken: list[tuple[A, asyncio.Future[B]]] = []
        try:
            while self._waiting:
                taken = self._taken()
                _answer([future for _, future in taken], await self._tried([a for a, _ in taken]))
        finally:  # only a stop that is given up cancels this: nobody may wait for ever
            for _, future in (*taken, *self._waiting):
                future.cancel()
            self._waiting.clear()

    def _taken(self) -> list[tuple[A, asyncio.Future[B]]]:
        """Those of the next round: the ready ones, or all where none is."""
        first = list(islice(self._waiting, MOST))
        taken = [one for one in first if self._ready(one[0])] or first
        left = [one for one in first if one not in taken] if len(taken) < len(first) else []
        for _ in first:
            self._waiting.popleft()
        self._waiting.extendleft(reversed(left))
        return taken

    async def _tried(self, items: list[A]) -> Sequence[B | Exception]:
        try:
            return await self._work(items)
        except Exception as error:  # noqa: BLE001 - raised for everyone
            return [error] * len(items)


def _answer[B](futures: list[asyncio.Future[B]], answers: Sequence[B | Exception]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():  # its caller has gone away
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
