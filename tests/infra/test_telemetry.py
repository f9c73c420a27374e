"""Metrics: of one process, and summed over several."""

import json
import platform
import subprocess
import sys
from pathlib import Path

from guilder.infra.process.health import PartHealth, Status
from guilder.infra.process.telemetry import Telemetry

WORKER = """
import sys
from guilder.infra.process.health import PartHealth, Status
from guilder.infra.process.telemetry import Telemetry
telemetry = Telemetry()
telemetry.request("GET", "/a/{id}", 200, 0.01)
telemetry.queue(3)
telemetry.batch(10, 0.002)
lag = float(sys.argv[1])
late = Status.DEGRADED if lag > 60 else Status.HEALTHY
telemetry.health({"jobs": PartHealth(late, lag_seconds=lag, dead_letters=2)})
print(telemetry.render().decode(), flush=True)
"""


SHOW = """
import json
from prometheus_client import PROCESS_COLLECTOR
from guilder.infra.process.telemetry import Telemetry
telemetry = Telemetry()
telemetry.queue(0)
own = {one.name: one.samples[0].value for one in PROCESS_COLLECTOR.collect()}
print(json.dumps({
    "resident": own["process_resident_memory_bytes"] * 0.99,
    "started": own["process_start_time_seconds"],
}))
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
    telemetry.health(
        {
            "database": PartHealth(Status.UNHEALTHY),
            "jobs": PartHealth(Status.HEALTHY, lag_seconds=1.5, dead_letters=2),
        }
    )
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
        'guilder_health_status{check="database",status="unhealthy"} 1.0',
        'guilder_health_status{check="database",status="healthy"} 0.0',
        'guilder_health_status{check="jobs",status="healthy"} 1.0',
    ):
        assert line in lines


def test_refusals_are_counted_by_code_and_sign_ins_by_outcome() -> None:
    telemetry = Telemetry()
    telemetry.request("GET", "/a/{id}", 404, 0.004, "not_found")
    telemetry.request("GET", "/b/{id}", 404, 0.004, "not_found")
    telemetry.sign_in("succeeded")
    telemetry.sign_in("invalid_credentials")
    lines = telemetry.render().decode().splitlines()
    assert 'guilder_http_refusals_total{code="not_found"} 2.0' in lines
    assert 'guilder_sign_ins_total{outcome="succeeded"} 1.0' in lines
    assert 'guilder_sign_ins_total{outcome="invalid_credentials"} 1.0' in lines


def test_the_process_and_what_it_runs_are_shown_and_no_series_of_beginnings() -> None:
    shown = Telemetry().render().decode()
    assert f'guilder_build_info{{python="{platform.python_version()}",version="' in shown
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"):
        assert float(series(shown, f"process_{name}")) > 0
    assert "_created" not in shown


def series(shown: str, name: str) -> str:
    """The value of the one series of this name."""
    (line,) = [line for line in shown.splitlines() if line.startswith(f"{name} ")]
    return line.partition(" ")[2]


def test_the_processes_of_all_workers_are_added_up(tmp_path: Path) -> None:
    """Those whose files are there: the files of one that has ended are taken away."""
    folder = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER + "sys.stdin.read()", "1"], env=folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        while b"process_cpu_seconds_total " not in other.stdout.readline():
            pass
        shown = subprocess.run(
            [sys.executable, "-c", SHOW], env=folder, check=True, capture_output=True, text=True
        ).stdout
        other.communicate()
    own = json.loads(shown.splitlines()[0])
    assert float(series(shown, "process_resident_memory_bytes")) > own["resident"]
    assert float(series(shown, "process_start_time_seconds")) < own["started"]


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
    assert 'guilder_health_status{check="jobs",status="healthy"} 1.0' in said
    assert 'guilder_health_status{check="jobs",status="degraded"} 0.0' in said
