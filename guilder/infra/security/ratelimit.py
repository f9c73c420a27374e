"""Token buckets in this process. Others: ``redis_limits`` beside it, ``guilder.db.rate_limits``."""

import logging
from typing import Final

from guilder.core.clock import Clock
from guilder.core.errors import Unavailable
from guilder.core.ports import RateLimiter
from guilder.core.rates import FULL, Rate, Verdict, give_back, take

MAX_BUCKETS: Final = 100_000

_log = logging.getLogger(__name__)


class LocalRateLimiter:
    """Buckets in the memory of this process, at most ``most_buckets`` of them.

    When there are more, the full ones go, and then those that are nearest to being full: many
    strangers cannot wash out the bucket of somebody who has used it up.
    """

    def __init__(self, clock: Clock, most_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._most_buckets = most_buckets
        self._full_at: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take a token; there is always an answer."""
        now_us = self._clock.now_us()
        full_at_us = self._full_at.get(key, FULL)
        if full_at_us == FULL and len(self._full_at) >= self._most_buckets:
            self._make_room(now_us)
        self._full_at[key], said = take(rate, full_at_us, now_us)
        return said

    async def give_back(self, key: str, rate: Rate) -> None:
        """Put a token back; into a bucket that was forgotten there is nothing to put."""
        full_at_us = self._full_at.get(key)
        if full_at_us is not None:
            self._full_at[key] = give_back(full_at_us, rate.token_us, self._clock.now_us())

    def _make_room(self, now_us: int) -> None:
        kept = [(at, key) for key, at in self._full_at.items() if at > now_us]
        if len(kept) > self._most_buckets // 2:
            kept = sorted(kept)[len(kept) - self._most_buckets // 2 :]
        self._full_at = {key: at for at, key in kept}


class FallbackRateLimiter:
    """Several stores, the best first: while one is away the buckets of the next count."""

    def __init__(self, *stores: RateLimiter) -> None:
        self._stores = stores

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take a token. Raises ``Unavailable`` when every store is away."""
        for store in self._stores:
            try:
                return await store.take(key, rate)
            except Unavailable:
                continue
        raise Unavailable()

    async def give_back(self, key: str, rate: Rate) -> None:
        """Put a token back into the best that can be reached.

        Raises ``Unavailable`` when every store is away.
        """
        for store in self._stores:
            try:
                return await store.give_back(key, rate)
            except Unavailable:
                continue
        raise Unavailable()
