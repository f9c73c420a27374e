"""What arrives together is done together: one round of work in flight a process, and no timer.

When idle, work begins at once; while some is in flight, all that arrives is the next round. A
caller that goes away drops its answer, never the work. One whose round does not begin in time is
told so, and nothing is done for it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from typing import Any, Final

from guilder.core.errors import Unavailable

MOST: Final = 128
"""Of what is done in one round: it bounds how long a round, and the locks it takes, may last."""
LATE_SECONDS: Final = 5.0
"""How long an item waits for its round to begin: longer, and it is late."""

type _Waiting[A, B] = tuple[A, asyncio.Future[B], asyncio.TimerHandle]
"""An item, who is told of it, and what tells them that it has waited for too long."""


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
        self._waiting: deque[_Waiting[A, B]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: A) -> B:
        """The answer, once the round that had the item in it is over.

        Raises ``Unavailable`` when that has not begun within ``LATE_SECONDS``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[B] = loop.create_future()
        late = loop.call_later(LATE_SECONDS, _refuse, future)
        self._waiting.append((item, future, late))
        if self._task is None or self._task.done():
            # A context of its own: no request's trace is to show what is done for many.
            self._task = loop.create_task(self._rounds(), name="gatherer", context=Context())
        return await future

    @property
    def waiting(self) -> list[A]:
        """What is not in flight, as much of it as a round takes."""
        first = islice(self._waiting, MOST)
        return [item for item, future, _ in first if not _was_refused(future)]

    async def drain(self) -> None:
        """Wait until nothing is in flight or waits, whoever has gone away meanwhile."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _rounds(self) -> None:
        taken: list[_Waiting[A, B]] = []
        try:
            while self._waiting:
                if taken := self._taken():
                    answers = await self._tried([item for item, _, _ in taken])
                    _answer([future for _, future, _ in taken], answers)
        finally:  # only a stop that is given up cancels this: nobody may wait for ever
            for _, future, _ in (*taken, *self._waiting):
                future.cancel()
            self._waiting.clear()

    def _taken(self) -> list[_Waiting[A, B]]:
        """Those of the next round: the ready ones, or all where none is."""
        first = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        first = [one for one in first if not _was_refused(one[1])]
        taken = [one for one in first if self._ready(one[0])] or first
        left = [one for one in first if one not in taken] if len(taken) < len(first) else []
        self._waiting.extendleft(reversed(left))
        for _, _, late in taken:
            late.cancel()
        return taken

    async def _tried(self, items: list[A]) -> Sequence[B | Exception]:
        try:
            return await self._work(items)
        except Exception as error:  # noqa: BLE001 - raised for everyone
            return [error] * len(items)


def _refuse(future: asyncio.Future[Any]) -> None:
    if not future.done():
        refusal = Unavailable()
        refusal.__cause__ = TimeoutError("the round before this one does not end")
        future.set_exception(refusal)


def _was_refused(future: asyncio.Future[Any]) -> bool:
    """And not only left alone by its caller."""
    return future.done() and not future.cancelled()


def _answer[B](futures: list[asyncio.Future[B]], answers: Sequence[B | Exception]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():  # its caller has gone away
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
