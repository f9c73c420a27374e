"""Waiting for a state, however busy the machine is; only what hangs reaches the bound."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

LONG: Final = 120.0
"""Seconds after which what is waited for will not come."""
_BETWEEN: Final = 0.01


def wait_until(holds: Callable[[], object], seconds: float = LONG) -> None:
    """Look again and again; fails when it never holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"this did not come within {seconds} s"
        time.sleep(_BETWEEN)


async def until(holds: Callable[[], object]) -> None:
    """The same while the loop goes on; raises ``TimeoutError``."""
    async with asyncio.timeout(LONG):
        while not holds():
            await asyncio.sleep(_BETWEEN)


class Lag:
    """How late this process was at the worst, in seconds: what a busy machine adds to a wait."""

    worst = 0.0

    async def measure(self) -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(_BETWEEN)
            self.worst = max(self.worst, time.monotonic() - begun - _BETWEEN)


@asynccontextmanager
async def lag_measured() -> AsyncIterator[Lag]:
    """Measures as long as the block lasts, for bounds on what happens in it."""
    lag = Lag()
    measuring = asyncio.create_task(lag.measure())
    try:
        yield lag
    finally:
        measuring.cancel()
        with suppress(asyncio.CancelledError):
            await measuring
