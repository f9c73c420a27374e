"""The contract of ``RateLimiter``, which every store keeps as the pure rule has it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guilder.core.clock import SECOND_US, FixedClock
from guilder.core.errors import Unavailable
from guilder.core.ports import RateLimiter
from guilder.core.rates import FULL, Rate, take
from guilder.db.engine import Database
from guilder.db.rate_limits import SqlRateLimiter, drop_full_buckets
from guilder.infra.security.ratelimit import LocalRateLimiter
from guilder.infra.security.redis_limits import RedisRateLimiter
from tests.db import owner
from tests.support.redis_server import RedisServer

NOW = 1_790_000_000_123_457
FIVE = Rate(5, 60)


@dataclass
class Pair:
    """Two limiters on one store, as two processes have them; where there is one, it is both."""

    clock: FixedClock
    here: RateLimiter
    there: RateLimiter


@pytest.fixture(params=["local", "sqlite_url", "postgres_url", "redis_server"])
def place(request: pytest.FixtureRequest) -> Any:
    """A fresh store: a server, the address of a database, or nothing for this process."""
    return None if request.param == "local" else request.getfixturevalue(request.param)


@pytest.fixture
async def pair(place: Any) -> AsyncIterator[Pair]:
    clock = FixedClock(NOW)
    if place is None:
        local = LocalRateLimiter(clock)
        yield Pair(clock, local, local)
    elif isinstance(place, RedisServer):
        two = [RedisRateLimiter(place.url, clock) for _ in range(2)]
        yield Pair(clock, *two)
        for limiter in two:
            await limiter.close()
    else:
        databases = [Database(place) for _ in range(2)]
        yield Pair(clock, *[SqlRateLimiter(database, clock) for database in databases])
        for database in databases:
            await database.close()


# A minute and more: Redis forgets a bucket by real time, and this clock may stand still.
model_rates = st.builds(Rate, st.integers(1, 9), st.integers(60, 600))
pauses = st.just(0) | st.integers(0, 700 * SECOND_US) | st.integers(-(10**10), 3)
steps = st.lists(st.tuples(st.sampled_from("ab"), pauses, st.booleans()), max_size=25)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rate=model_rates, moves=steps, alone=st.booleans())
async def test_every_store_decides_as_the_rule(
    pair: Pair, rate: Rate, moves: list[tuple[str, int, bool]], alone: bool
) -> None:
    """One process under any clock, or two under one that does not go back."""
    run, pair.clock.at_us = uuid4().hex, NOW
    states: dict[str, int] = {}
    for key, pause_us, is_here in moves:
        pair.clock.at_us += pause_us if alone else max(pause_us, 0)
        limiter = pair.here if alone or is_here else pair.there
        states[key], expected = take(rate, states.get(key, FULL), pair.clock.at_us)
        assert await limiter.take(f"{run} {key}", rate) == expected


async def test_no_token_is_given_twice_however_many_ask_at_once(pair: Pair) -> None:
    asked = [limiter.take("k", FIVE) for _ in range(20) for limiter in (pair.here, pair.there)]
    said = await asyncio.gather(*asked)
    assert sorted(verdict.remaining for verdict in said if verdict.allowed) == [0, 1, 2, 3, 4]
    assert {verdict.retry_after_seconds for verdict in said if not verdict.allowed} == {12}


async def test_what_one_has_used_up_is_used_up_for_the_other(pair: Pair) -> None:
    for _ in range(5):
        await pair.here.take("k", FIVE)
    assert not (await pair.there.take("k", FIVE)).allowed
    assert (await pair.there.take("l", FIVE)).allowed
    pair.clock.advance(seconds=12)
    assert (await pair.there.take("k", FIVE)).allowed
    assert not (await pair.here.take("k", FIVE)).allowed


async def test_what_is_given_back_can_be_taken_again(pair: Pair) -> None:
    for _ in range(6):
        await pair.here.take("k", FIVE)
    await pair.here.give_back("k", FIVE)
    assert (await pair.here.take("k", FIVE)).allowed
    assert not (await pair.there.take("k", FIVE)).allowed
    for _ in range(9):
        await pair.there.give_back("k", FIVE)
    await pair.there.give_back("unknown", FIVE)
    said = [await pair.there.take(key, FIVE) for key in ("k", "unknown")]
    assert [(verdict.allowed, verdict.remaining) for verdict in said] == [(True, 4)] * 2


async def test_a_clock_set_back_refuses_for_no_longer_than_a_token_takes(pair: Pair) -> None:
    for _ in range(6):
        await pair.here.take("k", FIVE)
    pair.clock.advance(hours=-1)
    assert not (await pair.here.take("k", FIVE)).allowed
    pair.clock.advance(seconds=12)
    assert (await pair.here.take("k", FIVE)).allowed


async def test_a_bucket_that_has_refused_is_not_asked_before_it_may_have_a_token(
    database_url: str,
) -> None:
    database, clock = Database(database_url), FixedClock(NOW)
    limiter = SqlRateLimiter(database, clock)
    for _ in range(6):
        await limiter.take("k", FIVE)
    await owner.execute(database_url, "DELETE FROM rate_limits")
    said = [await limiter.take("k", FIVE) for _ in range(3)]
    assert {(verdict.allowed, verdict.retry_after_seconds) for verdict in said} == {(False, 12)}
    clock.advance(seconds=12)
    assert (await limiter.take("k", FIVE)).remaining == 4
    await database.close()


async def test_a_database_that_is_away_is_told() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable):
        await SqlRateLimiter(database, FixedClock(NOW)).take("k", FIVE)
    await database.close()


async def test_full_buckets_are_dropped_and_others_kept(database_url: str) -> None:
    database, clock = Database(database_url), FixedClock(NOW)
    limiter = SqlRateLimiter(database, clock)
    await limiter.take("full soon", Rate(60, 60))
    await limiter.take("empty for long", Rate(1, 3600))
    assert await drop_full_buckets(database, clock) == 0
    clock.advance(seconds=62)
    assert await drop_full_buckets(database, clock) == 1
    assert await owner.counts(database_url, "rate_limits") == {"rate_limits": 1}
    assert not (await limiter.take("empty for long", Rate(1, 3600))).allowed
    await database.close()


async def test_the_memory_of_refusals_is_bounded(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guilder.db.rate_limits.MAX_REFUSED", 2)
    database = Database(sqlite_url)
    limiter = SqlRateLimiter(database, FixedClock(NOW))
    said = [await limiter.take(key, Rate(1, 60)) for key in "abcabcabc"]
    assert [verdict.allowed for verdict in said] == [True] * 3 + [False] * 6
    await database.close()


async def test_buckets_in_memory_are_bounded_and_strangers_do_not_wash_out_an_empty_one() -> None:
    clock = FixedClock(NOW)
    limiter = LocalRateLimiter(clock, most_buckets=100)
    for _ in range(5):
        await limiter.take("guesser", FIVE)
    for number in range(1000):
        await limiter.take(f"stranger {number}", FIVE)
        assert len(limiter) <= 100
    assert not (await limiter.take("guesser", FIVE)).allowed
    clock.advance(seconds=61)
    for number in range(100):
        await limiter.take(f"newcomer {number}", FIVE)
    assert len(limiter) <= 100


async def test_redis_counts_by_its_own_time_and_forgets_what_is_full(
    redis_server: RedisServer,
) -> None:
    limiter = RedisRateLimiter(redis_server.url)
    rate = Rate(2, 1)
    assert [(await limiter.take("k", rate)).allowed for _ in range(3)] == [True, True, False]
    await asyncio.sleep(0.6)
    assert (await limiter.take("k", rate)).allowed
    assert redis_server.ask("TTL guilder:rate:k").strip() in {b":1", b":2"}
    await limiter.close()


async def test_a_token_from_redis_is_one_round_trip(redis_server: RedisServer) -> None:
    limiter = RedisRateLimiter(redis_server.url)
    await limiter.take("k", FIVE)
    before = redis_server.commands()
    for _ in range(50):
        await limiter.take("k", FIVE)
    assert redis_server.commands() - before == {"evalsha": 50}
    await limiter.close()
