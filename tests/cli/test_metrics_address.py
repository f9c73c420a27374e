"""``GUILDER_METRICS_ADDRESS``: an own address for the metrics of all workers."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.cli.serving import Running, environment, free_port, guilder, run, serving
from tests.support.waiting import LONG, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.heavy]


def counted(metrics: str) -> float:
    """How many requests of the liveness the metrics of all workers have."""
    begin = 'guilder_http_requests_total{method="GET",route="/health/live"'
    lines = httpx.get(metrics, timeout=LONG).raise_for_status().text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(begin))


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_of_all_workers_are_on_their_own_address_alone(
    sqlite_url: str, tmp_path: Path, workers: int
) -> None:
    at = f"127.0.0.1:{free_port()}"
    values = environment(sqlite_url, tmp_path, METRICS_ADDRESS=at, RATE_LIMITS="off")
    with serving(tmp_path, values, "--workers", str(workers)) as running:
        assert running.get("/metrics").status_code == 404
        if workers > 1:
            wait_until(lambda: running.answering() == running.workers())
        before = counted(f"http://{at}/metrics")
        for _ in range(20):
            assert running.get("/health/live").status_code == 200
        # A worker counts an answer once it is sent, and another may be asked before that.
        wait_until(lambda: counted(f"http://{at}/metrics") >= before + 20)
        assert counted(f"http://{at}/metrics") == before + 20
        assert httpx.get(f"http://{at}/health", timeout=LONG).status_code == 404
        if workers > 1:
            goes_on_without(min(running.workers()), running, f"http://{at}/metrics")
        assert running.stop() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{at}/metrics")


def goes_on_without(victim: int, running: Running, metrics: str) -> None:
    """The metrics stay while a worker is replaced."""
    os.kill(victim, signal.SIGKILL)
    while victim in running.workers() or len(running.workers()) < 2:
        assert counted(metrics) >= 20


def test_an_address_of_metrics_that_is_taken_is_told(sqlite_url: str, tmp_path: Path) -> None:
    values = environment(sqlite_url, tmp_path)
    with serving(tmp_path, values) as running:
        values |= {"GUILDER_METRICS_ADDRESS": f"127.0.0.1:{running.port}"}
        done = run(tmp_path, values, "serve", "--port", "0")
        assert done.returncode == 3
        assert done.stderr.startswith(
            f"guilder: cannot listen on 127.0.0.1 port {running.port}: Address already in use"
        )


def test_the_metrics_cannot_have_the_banks_own_address(sqlite_url: str, tmp_path: Path) -> None:
    port = free_port()
    own = f"127.0.0.1:{port}"
    done = guilder(sqlite_url, tmp_path, "serve", "--port", str(port), METRICS_ADDRESS=own)
    assert done.exit_code == 3
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr
