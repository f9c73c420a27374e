"""Token buckets in Redis. Its library is slow to import: only who has a Redis imports this."""

import asyncio
import logging
from time import monotonic
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from guilder.core.clock import Clock
from guilder.core.errors import Unavailable
from guilder.core.rates import Rate, Verdict, verdict

ANSWER_SECONDS: Final = 0.25
"""How long a request waits for Redis, connecting included."""
AWAY_SECONDS: Final = 1.0
"""How long Redis is left alone after it did not answer; then one request tries again."""
MAX_CONNECTIONS: Final = 32

_SERVER_TIME: Final = -1
_TAKE: Final = """
local now = tonumber(ARGV[1])
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local token, full = tonumber(ARGV[2]), tonumber(ARGV[3])
local before = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
local owed = math.min(math.max(before - now, 0), full)
local allowed = 0
if ARGV[5] == 'back' then
  allowed = 1
  owed = math.max(owed - token, 0)
elseif owed + token <= full then
  allowed = 1
  owed = owed + token
end
if now + owed ~= before then
  redis.call('SET', KEYS[1], string.format('%.0f', now + owed), 'EX', ARGV[4])
end
return {allowed, owed}
"""
"""``take`` and ``give_back`` of ``guilder.core.rates``, atomic on the server.

Its numbers are whole and below 2^53.
"""

_log = logging.getLogger(__name__)


class RedisRateLimiter:
    """Buckets in Redis, shared by all that use the server: one script, one round trip.

    When Redis does not answer in time it is left alone for a moment, in which every request is
    told so at once; the log has a line when it goes away and one when it is back.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Connects when it is first used; without a ``clock`` the server's time counts."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)
        self._script: Any = self._redis.register_script(_TAKE)
        self._clock = clock
        self._away = False
        self._leave_until = 0.0

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take a token. Raises ``Unavailable`` while Redis is away."""
        allowed, owed_us = await self._run(key, rate, "take")
        return verdict(rate, owed_us, allowed=bool(allowed))

    async def give_back(self, key: str, rate: Rate) -> None:
        """Put a token back. Raises ``Unavailable`` while Redis is away."""
        await self._run(key, rate, "back")

    async def _run(self, key: str, rate: Rate, what: str) -> tuple[int, int]:
        trying_again = self._away
        if trying_again:
            if monotonic() < self._leave_until:
                raise Unavailable()
            self._leave_until = monotonic() + AWAY_SECONDS
        now_us = _SERVER_TIME if self._clock is None else self._clock.now_us()
        arguments = (now_us, rate.token_us, rate.full_us, rate.window_seconds + 1, what)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._script(keys=(f"guilder:rate:{key}",), args=arguments)
        except (RedisError, OSError) as error:
            await self._gone(error)
            raise Unavailable() from None
        if trying_again:
            self._away = False
            _log.warning("redis is back")
        allowed, owed_us = answer
        return allowed, owed_us

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()

    async def _gone(self, error: Exception) -> None:
        """Leave Redis alone for a moment, and its connections: they may be of a server before."""
        self._leave_until = monotonic() + AWAY_SECONDS
        if self._away:
            return
        self._away = True
        fields = {"error": type(error).__name__}
        _log.error("redis is away: rate limits are local", extra={"fields": fields})
        await self._redis.connection_pool.disconnect(inuse_connections=False)
