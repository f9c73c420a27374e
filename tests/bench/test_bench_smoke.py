"""The benchmark runs from end to end, counts no error, and writes what it promises."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.load import Run
from bench.results import Figure, Results, bars, figure_of, ratios

ROOT = Path(__file__).resolve().parents[2]


def run_of(rate: int, errors: int = 0) -> Run:
    return Run(rate, rate, 1.0, 5.0, 4.0, 8.0, 9.0, 20.0, 0, errors, 0, 0, 0)


def figure(section: str, rate: float, **facts: Any) -> Figure:
    found: dict[str, Any] = {"database": "postgresql", "workers": 2, "unit": "/s"} | facts
    return Figure(section=section, name=section, rate=rate, errors=0, runs=[], **found)


def test_a_figure_is_the_median_and_counts_every_error() -> None:
    runs = [run_of(10), run_of(30, errors=2), run_of(20)]
    found = figure_of(runs, section="single", name="x", unit="/s", database="sqlite")
    assert (found.rate, found.errors, found.runs) == (20, 2, [10, 30, 20])


def test_ratios_and_bars_compare_with_the_best_of_the_others() -> None:
    results = Results(
        figures=[
            figure("tpcb", 4_000, workers=None),
            figure("tpcb", 5_000, workers=None),
            figure("plain", 300, workers=1, connections=64),
            figure("plain", 500, connections=64),
            figure("single", 4_500, connections=64, p99_ms=70.0),
            figure("bulk", 22_000, connections=4, batch=1000),
            figure("hot", 11_000, connections=4, batch=1000, hot=True),
        ]
    )
    found = ratios(results)
    assert found["single / tpcb (postgresql, 2 workers)"] == 0.9
    assert found["bulk / tpcb (postgresql, 2 workers)"] == 4.4
    assert found["hot / random, bulk of 1000 (postgresql, 2 workers)"] == 0.5
    held = {bar.name: bar.holds for bar in bars(results)}
    assert held["PostgreSQL bulk / TPC-B"] is True
    assert held["PostgreSQL single / plain (its best)"] is False
    assert held["PostgreSQL single, 64 connections, p99"] is False
    assert held["hot / random (the worst)"] is False
    assert held["SQLite bulk"] is None


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_quick_run_on_sqlite(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--quick", "--databases", "sqlite", "--out", str(out)]
    command += ["--only", "plain", "single", "bulk", "hot", "reads", "engine"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(out.read_text())
    sections = {figure["section"] for figure in written["figures"]}
    assert sections == {"plain", "single", "bulk", "hot", "reads", "engine"}
    assert all(figure["rate"] > 0 and figure["errors"] == 0 for figure in written["figures"])
    assert written["durability"]["sqlite"]["synchronous"] == "FULL"
