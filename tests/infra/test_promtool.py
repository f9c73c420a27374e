"""The metrics as Prometheus' own tool sees them."""

import shutil
import subprocess

import pytest

from guilder.infra.process.telemetry import Telemetry

pytestmark = [pytest.mark.heavy, pytest.mark.integration]


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not there (Debian: apt install prometheus)",
)
def test_promtool_finds_nothing_in_the_metrics() -> None:
    telemetry = Telemetry()
    telemetry.request("GET", "/a/{id}", 404, 0.004, "not_found")
    telemetry.batch(7, 0.02)
    telemetry.queue(5)
    telemetry.limited("strict")
    telemetry.lost_lines(1)
    telemetry.outbox(1.5, 2)
    telemetry.sign_in("succeeded")
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=telemetry.render(),
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
