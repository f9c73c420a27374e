"""Long work on the event loop in slices, so that no request makes the others wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final

SLICE_SECONDS: Final = 0.005


class Turn:
    """The right to keep the loop busy for a slice of time; asked for again with ``pause``."""

    __slots__ = ("_ends", "_lock", "held")

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self.held = True
        self._ends = perf_counter() + SLICE_SECONDS

    @property
    def over(self) -> bool:
        """Whether the slice is used up: then ``pause`` is to be awaited."""
        return perf_counter() > self._ends

    async def pause(self) -> None:
        """Let everything else run that can, and go on when it is one's turn again."""
        await asyncio.sleep(0)
        self.held = False
        self._lock.release()
        self.held = await self._lock.acquire()
        self._ends = perf_counter() + SLICE_SECONDS


class Turns:
    """Gives turns to one piece of long work at a time, in the order in which they ask."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """A turn, for as long as the block lasts."""
        await self._lock.acquire()
        turn = Turn(self._lock)
        try:
            yield turn
        finally:
            if turn.held:  # not so when the request was cancelled while it waited
                self._lock.release()
