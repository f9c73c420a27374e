"""``guilder serve --workers 2``: a guesser gains nothing by asking another process."""

from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from guilder.api.policies import LOGIN
from tests.cli.serving import environment, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_login_guesses_are_bounded_over_all_workers(database_url: str, tmp_path: Path) -> None:
    assert LOGIN.rate is not None
    quota = LOGIN.rate.capacity
    with serving(tmp_path, environment(database_url, tmp_path), "--workers", "2") as running:
        begun = monotonic()
        said: Counter[int] = Counter()
        for _ in range(2 * quota + 20):
            answer = running.client.post(
                f"{running.base}/api/v1/sessions", json={}, headers={"connection": "close"}
            )
            said[answer.status_code] += 1
        most = quota + int((monotonic() - begun) * LOGIN.rate.refill_per_second) + 1
        assert said.keys() == {422, 429}
        assert quota <= said[422] <= most
        asked = [line for line in running.lines() if line.get("route") == "/api/v1/sessions"]
        assert len({line["process"] for line in asked}) == 2
        hits = next(
            line for line in running.get("/metrics").text.splitlines()
            if line.startswith('guilder_rate_limit_hits_total{route_class="strict"}')
        )  # fmt: skip
        assert float(hits.rpartition(" ")[2]) == said[429]
