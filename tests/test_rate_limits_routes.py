"""Rate limits of the whole bank: strict ones hold over its workers, with or without Redis."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from time import monotonic

import httpx
import pytest

from guilder.api.policies import LOGIN
from guilder.core.clock import SECOND_US
from guilder.infra.security.redis_limits import ANSWER_SECONDS
from tests.support.app import app_on, started
from tests.support.constants import ADA
from tests.support.redis_server import RedisServer
from tests.support.waiting import LONG, lag_measured, until

SESSIONS = "/api/v1/sessions"
QUOTA = LOGIN.rate.capacity


@asynccontextmanager
async def workers(
    url: str, folder: Path, number: int = 2, **settings: object
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """So many processes of one bank, as far as they know, and a client of each."""
    values = {"rate_limits": True, "workers": number, **settings}
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(started(app_on(url, folder, **values)))
            for _ in range(number)
        ]


async def guess(clients: list[httpx.AsyncClient], times: int) -> Counter[int]:
    """Guess at the login of each client in turn; a body without fields costs no password check.

    So often, and on a slow machine until one is refused: meanwhile buckets fill up again.
    """
    said: Counter[int] = Counter()
    async with asyncio.timeout(LONG):
        for number in count():
            answer = await clients[number % len(clients)].post(SESSIONS, json={})
            said[answer.status_code] += 1
            if said.total() >= times and said[429]:
                return said
    raise AssertionError


def most(since: float) -> int:
    """How many guesses a bucket may have let through since then."""
    return QUOTA + int((monotonic() - since) * SECOND_US / LOGIN.rate.token_us) + 1


async def test_login_guesses_are_bounded_over_two_workers(
    database_url: str, tmp_path: Path
) -> None:
    async with workers(database_url, tmp_path) as clients:
        assert (await clients[0].post("/auth/signup", json=ADA)).status_code == 201
        begun = monotonic()
        said = await guess(clients, QUOTA + 40)
        assert said.keys() == {422, 429}
        assert QUOTA <= said[422] <= most(begun)
        for client in clients:  # the right password comes too late too, by whichever way
            for path in (SESSIONS, "/auth/login", "/api/v1/auth/login"):
                body = ADA if path == SESSIONS else ADA | {"username": ADA["email"]}
                await guess([client], 3)
                answers = await asyncio.gather(*[client.post(path, json=body) for _ in range(9)])
                assert 429 in {answer.status_code for answer in answers}
        assert (await clients[0].get("/health")).status_code == 200
        counted = (await clients[0].get("/metrics")).text
        assert 'guilder_rate_limit_hits_total{route_class="strict"}' in counted


@pytest.mark.parametrize("door", [SESSIONS, "/auth/login", "/api/v1/auth/login"])
async def test_a_wrong_password_counts_as_a_guess_at_every_door(
    sqlite_url: str, tmp_path: Path, door: str
) -> None:
    values = {"rate_limits": True, "rate_wrong_guesses": "2/h"}
    async with started(app_on(sqlite_url, tmp_path, **values)) as client:
        login = {"password": "no password of Ada"}
        body = login | ({"email": "a@b.example"} if door == SESSIONS else {"username": "a@b.co"})
        said = [(await client.post(door, json=body)).status_code for _ in range(3)]
    assert said == [401, 401, 429]


async def test_one_worker_needs_no_database_to_count(sqlite_url: str, tmp_path: Path) -> None:
    async with workers(sqlite_url, tmp_path, 1) as clients:
        begun = monotonic()
        said = await guess(clients, QUOTA + 40)
        assert QUOTA <= said[422] <= most(begun)


async def test_redis_counts_for_all_workers(
    sqlite_url: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    async with workers(sqlite_url, tmp_path, redis_url=redis_server.url) as clients:
        begun = monotonic()
        said = await guess(clients, QUOTA + 40)
        assert QUOTA <= said[422] <= most(begun)


GONE, BACK = "redis is away: rate limits are local", "redis is back"


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name.endswith("redis_limits")]


async def test_redis_killed_and_restarted_under_load_leaves_guesses_bounded(
    sqlite_url: str,
    tmp_path: Path,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: Counter[tuple[str, int]] = Counter()
    slowest, ended = 0.0, asyncio.Event()

    async def ask(client: httpx.AsyncClient, path: str) -> None:
        nonlocal slowest
        while not ended.is_set():
            begun = monotonic()
            answer = await (client.get("/") if path == "/" else client.post(path, json={}))
            slowest = max(slowest, monotonic() - begun)
            said[path, answer.status_code] += 1
            await asyncio.sleep(0.005)

    values = {"redis_url": redis_server.url, "rate_read": "60000/m"}  # so that `/` is never over it
    async with workers(sqlite_url, tmp_path, 1, **values) as [client]:
        begun = monotonic()
        with caplog.at_level(logging.WARNING):
            async with lag_measured() as lag:
                tasks = [asyncio.create_task(ask(client, path)) for path in (SESSIONS, "/") * 4]
                await until(lambda: said.total() > 50)
                usual = slowest
                redis_server.kill()
                await until(lambda: told(caplog) == [GONE])
                await asyncio.to_thread(redis_server.start)
                await until(lambda: told(caplog)[1:2] == [BACK])
                await until(lambda: said[SESSIONS, 429])
                ended.set()
                await asyncio.gather(*tasks)
    assert {status for path, status in said if path == "/"} == {200}
    assert {status for path, status in said if path == SESSIONS} == {422, 429}
    # A bucket before, one of its own while Redis was away, and a new one after: it kept nothing.
    # Where the machine is so busy that Redis is given up again, there is one of its own each time.
    away = told(caplog)[::2]
    assert said[SESSIONS, 422] <= (1 + len(away)) * QUOTA + most(begun)
    assert slowest < ANSWER_SECONDS + 0.5 + 2 * (lag.worst + usual)
    assert set(away) == {GONE}
    assert set(told(caplog)[1::2]) == {BACK}


async def test_strict_limits_hold_without_redis_and_looks_are_free(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with workers(sqlite_url, tmp_path, 1, redis_url="redis://127.0.0.1:1/0") as clients:
        begun = monotonic()
        said = await guess(clients, QUOTA + 40)
        assert QUOTA <= said[422] <= most(begun)
        answer = await clients[0].get("/")
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers


async def test_the_address_from_a_trusted_proxy_is_that_of_the_session(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with workers(sqlite_url, tmp_path, 1, trusted_proxies="127.0.0.1") as [client]:
        await client.post("/auth/signup", json=ADA)
        forwarded = {"X-Forwarded-For": "192.0.2.99, 203.0.113.7"}
        answer = await client.post(SESSIONS, json=ADA, headers=forwarded)
        assert answer.json()["session"]["ip_address"] == "203.0.113.7"
        assert answer.headers["x-ratelimit-remaining"] == str(QUOTA - 1)
        answer = await client.post(SESSIONS, json=ADA)
        assert answer.json()["session"]["ip_address"] == "127.0.0.1"
        assert answer.headers["x-ratelimit-remaining"] == str(QUOTA - 1)


async def test_limits_that_are_off_need_no_redis(sqlite_url: str, tmp_path: Path) -> None:
    settings = {"rate_limits": False, "redis_url": "redis://127.0.0.1:1/0"}
    async with workers(sqlite_url, tmp_path, 1, **settings) as clients:
        answers = [await clients[0].post(SESSIONS, json={}) for _ in range(QUOTA + 10)]
        assert {answer.status_code for answer in answers} == {422}
