"""Redis that freezes, dies and comes back: nobody waits long, and the log says it once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.core.rates import Rate, Verdict
from guilder.infra.security import redis_limits
from guilder.infra.security.ratelimit import FallbackRateLimiter, LocalRateLimiter
from guilder.infra.security.redis_limits import ANSWER_SECONDS, AWAY_SECONDS, RedisRateLimiter
from tests.support.redis_server import RedisServer
from tests.support.waiting import LONG, lag_measured, until

PLENTY = Rate(100_000, 60)
A_BREATH = 0.25
"""What a busy machine may add, apart from what it was seen to add to any wait."""


@pytest.fixture
async def limiter(redis_server: RedisServer) -> AsyncIterator[RedisRateLimiter]:
    made = RedisRateLimiter(redis_server.url)
    yield made
    await made.close()


async def asked(limiter: RedisRateLimiter) -> tuple[Verdict | None, float]:
    """What was said, None for nothing, and how long it took."""
    begun = monotonic()
    try:
        verdict = await limiter.take("k", PLENTY)
    except Unavailable:
        verdict = None
    return verdict, monotonic() - begun


async def back(limiter: RedisRateLimiter) -> None:
    """Wait until it answers again."""
    async with asyncio.timeout(LONG):
        while (await asked(limiter))[0] is None:
            await asyncio.sleep(0.02)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name.endswith("redis_limits")]


GONE, BACK = "redis is away: rate limits are local", "redis is back"


async def test_a_server_that_was_never_there_is_told_at_once_and_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limiter = RedisRateLimiter("redis://127.0.0.1:1/0")
    with caplog.at_level(logging.INFO):
        async with lag_measured() as lag:
            said = [await asked(limiter) for _ in range(100)]
    assert {verdict for verdict, _ in said} == {None}
    assert max(seconds for _, seconds in said) < ANSWER_SECONDS + A_BREATH + 2 * lag.worst
    assert events(caplog) == [GONE]
    await limiter.close()


async def test_a_kill_and_a_restart_under_load(
    redis_server: RedisServer, limiter: RedisRateLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    slowest, usual, answers, ended = 0.0, 0.0, 0, asyncio.Event()

    async def client() -> None:
        nonlocal slowest, answers
        while not ended.is_set():
            verdict, seconds = await asked(limiter)
            slowest, answers = max(slowest, seconds), answers + (verdict is not None)
            await asyncio.sleep(0.001)

    with caplog.at_level(logging.INFO):
        async with lag_measured() as lag:
            clients = [asyncio.create_task(client()) for _ in range(20)]
            for time in (1, 2):
                await until(lambda: answers > 50 * time)  # noqa: B023 - awaited in its turn
                usual, before = usual or slowest, events(caplog).count(GONE)
                redis_server.kill()
                await until(lambda: events(caplog).count(GONE) > before)  # noqa: B023
                await asyncio.to_thread(redis_server.start)
                await back(limiter)
            ended.set()
            await asyncio.gather(*clients)
    assert slowest < ANSWER_SECONDS + A_BREATH + 2 * (lag.worst + usual)
    # A busy machine may find it away once more; it is told in turn all the same.
    said = events(caplog)
    assert said == [GONE, BACK] * max(2, len(said) // 2)


async def test_a_server_that_hangs_holds_nobody_up(
    redis_server: RedisServer,
    limiter: RedisRateLimiter,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (await asked(limiter))[0] is not None
    monkeypatch.setattr(redis_limits, "ANSWER_SECONDS", ANSWER_SECONDS)
    redis_server.freeze()
    try:
        with caplog.at_level(logging.INFO):
            begun = monotonic()
            async with lag_measured() as lag:
                said = await asyncio.gather(*[asked(limiter) for _ in range(200)])
                while monotonic() < begun + 0.8 * AWAY_SECONDS:  # left alone, so refused at once
                    said.append(await asked(limiter))
            assert {verdict for verdict, _ in said} == {None}
            waited = [seconds for _, seconds in said]
            assert max(waited[:200]) < ANSWER_SECONDS + A_BREATH + 2 * lag.worst
            assert max(waited[200:], default=0) < 0.05 + 2 * lag.worst
    finally:
        redis_server.thaw()
        monkeypatch.setattr(redis_limits, "ANSWER_SECONDS", LONG)
    await back(limiter)
    assert events(caplog) == [GONE, BACK]


async def test_a_server_that_refuses_the_script_is_as_good_as_away(
    redis_server: RedisServer, limiter: RedisRateLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.ask("CONFIG SET requirepass secret")
    with caplog.at_level(logging.INFO):
        assert (await asked(limiter))[0] is None
    assert events(caplog) == [GONE]
    assert "secret" not in caplog.text


async def test_while_redis_is_away_the_next_store_counts(
    redis_server: RedisServer, limiter: RedisRateLimiter
) -> None:
    one = Rate(1, 3600)
    both = FallbackRateLimiter(limiter, LocalRateLimiter(SystemClock()))
    assert [(await both.take("k", one)).allowed for _ in range(2)] == [True, False]
    redis_server.kill()
    assert [(await both.take("k", one)).allowed for _ in range(2)] == [True, False]
    with pytest.raises(Unavailable):
        await FallbackRateLimiter(limiter).take("k", one)
