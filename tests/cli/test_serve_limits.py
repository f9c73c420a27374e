"""``guilder serve --workers 2``: a guesser gains nothing by asking another process."""

from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from guilder.api.policies import LOGIN
from guilder.core.clock import SECOND_US
from tests.cli.serving import Running, environment, serving
from tests.support.redis_server import RedisServer
from tests.support.sizes import tell
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

QUOTA, REFILL = LOGIN.rate.capacity, SECOND_US / LOGIN.rate.token_us


def guess(running: Running, times: int) -> tuple[Counter[int], int]:
    """What so many guesses were answered, and how many tokens a bucket may have gained meanwhile.

    On a connection each, so that either process has them.
    """
    begun = monotonic()
    said: Counter[int] = Counter()
    for _ in range(times):
        answer = running.client.post(
            f"{running.base}/api/v1/sessions", json={}, headers={"connection": "close"}
        )
        said[answer.status_code] += 1
    return said, int((monotonic() - begun) * REFILL) + 1


def asked(running: Running) -> set[int]:
    """Which processes had the guesses."""
    lines = [line for line in running.lines() if line.get("route") == "/api/v1/sessions"]
    return {line["process"] for line in lines}


def looked_for(running: Running) -> int:
    """How many processes have found Redis again; a request that costs nothing makes them look."""
    running.get("/")
    return sum(line["event"] == "redis is back" for line in running.lines())


@pytest.mark.heavy
def test_login_guesses_are_bounded_over_all_workers(sqlite_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, environment(sqlite_url, tmp_path), "--workers", "2") as running:
        said, gained = guess(running, 2 * QUOTA + 20)
        assert said.keys() == {422, 429}
        assert QUOTA <= said[422] <= QUOTA + gained
        wait_until(lambda: len(asked(running)) == 2)
        hits = next(
            line for line in running.get("/metrics").text.splitlines()
            if line.startswith('guilder_rate_limit_hits_total{route_class="strict"}')
        )  # fmt: skip
        assert float(hits.rpartition(" ")[2]) == said[429]


@pytest.mark.heavy
def test_login_guesses_are_bounded_with_redis_up_down_and_restarted(
    sqlite_url: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Each store that takes over knows nothing of the one before: a quota each, for both workers.

    A guesser who cannot kill Redis gains nothing.
    """
    values = environment(sqlite_url, tmp_path, REDIS_URL=redis_server.url)
    with serving(tmp_path, values, "--workers", "2") as running:
        up, gained_up = guess(running, QUOTA + 150)
        redis_server.kill()
        down, gained_down = guess(running, QUOTA + 150)
        redis_server.start()
        wait_until(lambda: looked_for(running) == 2)
        again, gained_again = guess(running, QUOTA + 150)
        wait_until(lambda: len(asked(running)) == 2)
        events = Counter(line["event"] for line in running.lines())
    tell("guesses", quota=QUOTA, up=up[422], down=down[422], again=again[422],
         gained=(gained_up, gained_down, gained_again))  # fmt: skip
    for said in (up, down, again):
        assert said.keys() == {422, 429}
    assert QUOTA <= up[422] <= QUOTA + gained_up
    assert QUOTA <= down[422] <= QUOTA + gained_down
    # Until a worker looks for Redis again, what the database has gained meanwhile counts too.
    assert QUOTA <= again[422] <= QUOTA + 2 * gained_again
    assert events["redis is away: rate limits are local"] == events["redis is back"] == 2
