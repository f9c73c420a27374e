"""The metrics, and the guide's rules about them, as Prometheus' own tool sees them."""

import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from guilder.infra.process.health import PartHealth, Status
from guilder.infra.process.telemetry import Telemetry
from tests.house.source import ROOT

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("promtool") is None,
        reason="promtool is not there (Debian: apt install prometheus)",
    ),
]

SCENES = """
rule_files: [rules.yml]
evaluation_interval: 15s
tests:
  - name: the database is away for three minutes
    interval: 15s
    input_series:
      - series: 'guilder_health_status{instance="a", check="database", status="unhealthy"}'
        values: '0x20 1x12 0x60'
      - series: 'guilder_health_status{instance="a", check="jobs", status="degraded"}'
        values: '0x20 1x12 0x60'
      - series: 'up{job="guilder", instance="a"}'
        values: '1x92'
    alert_rule_test:
      - {eval_time: 5m, alertname: GuilderUnhealthy, exp_alerts: []}
      - eval_time: 8m
        alertname: GuilderUnhealthy
        exp_alerts:
          - exp_labels: {severity: page, instance: a, check: database, status: unhealthy}
            exp_annotations: {summary: database of Guilder on a does not work}
      - {eval_time: 15m, alertname: GuilderUnhealthy, exp_alerts: []}
      - {eval_time: 15m, alertname: GuilderDegraded, exp_alerts: []}
      - {eval_time: 15m, alertname: GuilderAway, exp_alerts: []}
  - name: one slow look wakes nobody
    interval: 15s
    input_series:
      - series: 'guilder_health_status{instance="a", check="database", status="unhealthy"}'
        values: '0x20 1 0x40'
    alert_rule_test:
      - {eval_time: 5m15s, alertname: GuilderUnhealthy, exp_alerts: []}
      - {eval_time: 7m, alertname: GuilderUnhealthy, exp_alerts: []}
  - name: one worker of two is sick, a letter was given up, another server is off
    interval: 15s
    input_series:
      - series: 'guilder_health_status{instance="a", check="poster", status="unhealthy"}'
        values: '0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1'
      - series: 'guilder_outbox_dead_deliveries{instance="a"}'
        values: '2x30'
      - series: 'up{job="guilder", instance="b"}'
        values: '0x30'
    alert_rule_test:
      - eval_time: 7m
        alertname: GuilderUnhealthy
        exp_alerts:
          - exp_labels: {severity: page, instance: a, check: poster, status: unhealthy}
            exp_annotations: {summary: poster of Guilder on a does not work}
      - eval_time: 7m
        alertname: GuilderDeadDeliveries
        exp_alerts:
          - exp_labels: {severity: ticket, instance: a}
            exp_annotations: {summary: 2 deliveries of Guilder were given up}
      - eval_time: 7m
        alertname: GuilderAway
        exp_alerts:
          - exp_labels: {severity: page, instance: b, job: guilder}
            exp_annotations: {summary: Guilder on b does not answer}
"""


def said_by_promtool(*arguments: str, given: bytes = b"", folder: Path = ROOT) -> tuple[int, str]:
    done = subprocess.run(
        ["promtool", *arguments],
        input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, cwd=folder,
    )  # fmt: skip
    return done.returncode, done.stdout.decode()


def test_promtool_finds_nothing_in_the_metrics() -> None:
    telemetry = Telemetry()
    telemetry.request("GET", "/a/{id}", 404, 0.004, "not_found")
    telemetry.batch(7, 0.02)
    telemetry.queue(5)
    telemetry.limited("strict")
    telemetry.lost_lines(1)
    telemetry.health({"jobs": PartHealth(Status.HEALTHY, lag_seconds=1.5, dead_letters=2)})
    telemetry.sign_in("succeeded")
    assert said_by_promtool("check", "metrics", given=telemetry.render()) == (0, "")


def test_the_rules_of_the_guide_wake_somebody_when_a_part_does_not_work(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "how-to" / "observe.md").read_text(encoding="utf-8")
    rules = guide[guide.index("    groups:") : guide.index("## OpenTelemetry")]
    (tmp_path / "rules.yml").write_text(dedent(rules))
    (tmp_path / "scenes.yml").write_text(SCENES)
    status, said = said_by_promtool("check", "rules", "rules.yml", folder=tmp_path)
    assert (status, "4 rules found" in said) == (0, True), said
    status, said = said_by_promtool("test", "rules", "scenes.yml", folder=tmp_path)
    assert status == 0, said
