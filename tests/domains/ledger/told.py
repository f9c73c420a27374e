"""A store that does as it is told, for tests of the poster's own logic."""

import asyncio
from collections.abc import Callable

from guilder.domains.ledger.ports import no_more
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, PostingResult, Unit, UnitResult


class ToldStore:
    """A store that answers every unit with its label.

    It may have to wait for its turn, and again before it commits, when ``before`` may raise.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Event()
        self.turn.set()
        self.batches: list[list[str]] = []
        self.before: Callable[[list[str]], None] = lambda _labels: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def commit(
        self, units: list[Unit], more: Callable[[], None] = no_more
    ) -> list[UnitResult]:
        await self.turn.wait()
        more()
        labels = [unit.label for unit in units]
        self.batches.append(labels)
        await self.gate.wait()
        self.before(labels)
        return [UnitResult([PostingResult("created", 1)], label) for label in labels]

    async def close(self) -> None:
        self.closed = True


def unit(label: str, postings: int = 1) -> Unit:
    return Unit([Posting(1, 2, 1, "USD")] * postings, label=label)


async def submit_all(poster: Poster, *units: Unit) -> list[UnitResult | BaseException]:
    return await asyncio.gather(*map(poster.submit, units), return_exceptions=True)


async def settle() -> None:
    """Let everybody take their turns."""
    for _ in range(20):
        await asyncio.sleep(0)
