"""Metrics: of one process, and summed over several."""

import subprocess
import sys
from pathlib import Path

from guilder.infra.process.telemetry import Telemetry

WORKER = """
import sys
from guilder.infra.process.telemetry import Telemetry
telemetry = Telemetry()
telemetry.request("GET", "/a/{id}", 200, 0.01)
telemetry.queue(3)
telemetry.batch(10, 0.002)
telemetry.outbox(float(sys.argv[1]), 2)
print(telemetry.render().decode())
"""


def test_requests_batches_and_gauges_are_shown() -> None:
    telemetry = Telemetry()
    for _ in range(2):
        telemetry.request("GET", "/a/{id}", 200, 0.004)
    telemetry.batch(7, 0.02)
    telemetry.queue(5)
    telemetry.limited("strict")
    telemetry.limited("strict")
    telemetry.outbox(1.5, 2)
    lines = telemetry.render().decode().splitlines()
    for line in (
        'guilder_http_requests_total{method="GET",route="/a/{id}",status="200"} 2.0',
        'guilder_http_request_seconds_bucket{le="0.005",method="GET",route="/a/{id}"} 2.0',
        "guilder_poster_batch_postings_sum 7.0",
        "guilder_poster_batch_seconds_count 1.0",
        "guilder_poster_queue_postings 5.0",
        'guilder_rate_limit_hits_total{route_class="strict"} 2.0',
        "guilder_outbox_lag_seconds 1.5",
        "guilder_outbox_dead_deliveries 2.0",
    ):
        assert line in lines


def test_two_applications_in_one_process_count_apart() -> None:
    one, two = Telemetry(), Telemetry()
    one.batch(1, 0.1)
    assert b"guilder_poster_batch_postings_count 0.0" in two.render()


def test_any_of_several_processes_sums_up_all(tmp_path: Path) -> None:
    said = ""
    for lag in ("300", "4"):
        said = subprocess.run(
            [sys.executable, "-c", WORKER, lag],
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    assert 'guilder_http_requests_total{method="GET",route="/a/{id}",status="200"} 2.0' in said
    assert "guilder_poster_batch_postings_sum 20.0" in said
    assert "guilder_poster_queue_postings 6.0" in said
    # The latest is true: what another process saw earlier is no longer so.
    assert "guilder_outbox_lag_seconds 4.0" in said
    assert "guilder_outbox_dead_deliveries 2.0" in said
