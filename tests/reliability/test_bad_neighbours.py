"""One request never fails its neighbours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, UnitResult
from tests.reliability.checks import check_books
from tests.support.bank import ASSET, Bank, named, open_bank, open_store, reply_of

UNSTORABLE: dict[str, dict[str, Any]] = {
    "nul in the description": {"description": "a\x00b"},
    "lone surrogate": {"description": "\ud800"},
    "value date out of range": {"value_on": 2**40},
    "value date out of any range": {"value_on": 2**70},
    "not a text": {"description": b"bytes"},
}


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[tuple[Bank, Poster]]:
    bank = await open_bank(url)
    poster = Poster(open_store(url, SystemClock()))
    poster.start()
    yield bank, poster
    await poster.stop()


@pytest.mark.parametrize("good", [4, 60])
@pytest.mark.parametrize("bad", UNSTORABLE)
async def test_a_value_that_cannot_be_stored_fails_alone(
    database_url: str, bad: str, good: int
) -> None:
    async with posting(database_url) as (bank, poster):
        a, b = bank.customers[:2]
        units = [named(f"good{i}", [Posting(a, b, 1, ASSET)]) for i in range(good)]
        poison = named("bad", [Posting(a, b, 1, ASSET, **UNSTORABLE[bad])])
        units.insert(good // 2, poison)
        outcomes = await asyncio.gather(*map(poster.submit, units), return_exceptions=True)
        told = outcomes.pop(good // 2)
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert not failed, f"{len(failed)} of {good} neighbours failed: {failed[0]!r}"
    # SQLite can store some of these; whatever cannot be stored is not made better by a retry.
    assert not isinstance(told, Unavailable)
    replies = [
        reply_of(f"good{i}", outcome)
        for i, outcome in enumerate(outcomes)
        if isinstance(outcome, UnitResult)
    ]
    await check_books(database_url, replies)
