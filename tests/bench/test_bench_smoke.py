"""The benchmark runs from end to end, counts no error, and writes what it promises."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import Run
from bench.results import OPENING, PLAIN, Figure, Results, bars, figure_of, ratios
from bench.stage import PAGE, fan, ring

ROOT = Path(__file__).resolve().parents[2]


def run_of(rate: int, errors: int = 0) -> Run:
    return Run(rate, rate, 1.0, 5.0, 4.0, 8.0, 9.0, 20.0, 0, errors, 0, 0, 0)


def figure(section: str, rate: float, **facts: Any) -> Figure:
    found: dict[str, Any] = {"database": "postgresql", "workers": 2, "unit": "/s"} | facts
    return Figure(section=section, name=section, rate=rate, errors=0, runs=[], **found)


def named(section: str, name: str, rate: float, **facts: Any) -> Figure:
    return replace(figure(section, rate, **facts), name=name)


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


def reads_and_openings(database: str, workers: int) -> list[Figure]:
    here: dict[str, Any] = {"database": database, "workers": workers, "connections": 16}
    return [
        figure("single", 4_000, **here),
        named("reads", "account", 5_000, **here),
        named("plain", "plain, account", 1_000, **here | {"workers": 1}),
        named("plain", "plain, account", 2_000, **here),
        named("reads", "statement of 1000 lines", 100, **here),
        named("plain", "plain, statement of 1000 lines", 125, **here),
        named("accounts", OPENING, 1_300, p99_ms=61.0, **here),
        named("plain", PLAIN + OPENING, 1_000, **here),
    ]


def test_reads_and_openings_are_compared_with_the_plain_services_and_with_single_transfers() -> (
    None
):
    found = ratios(Results(figures=reads_and_openings("postgresql", 2)))
    where = "(postgresql, 2 workers)"
    assert found[f"account / plain {where}"] == 2.5
    assert found[f"account / single {where}"] == 1.25
    assert found[f"statement of 1000 lines / plain {where}"] == 0.8
    assert found[f"statement of 1000 lines / single {where}"] == 0.025
    assert found[f"{OPENING} / plain {where}"] == 1.3
    assert found[f"{OPENING} / single {where}"] == 0.325


def test_reads_and_openings_are_held_against_the_bars_of_each_database() -> None:
    figures = reads_and_openings("postgresql", 2) + reads_and_openings("sqlite", 1)
    held = {bar.name: bar.holds for bar in bars(Results(figures=figures))}
    assert held["PostgreSQL account"] is held["SQLite account"] is True
    assert held["PostgreSQL account / plain (its best)"] is True
    assert held["PostgreSQL account / single"] is True
    assert held["PostgreSQL page of 50 transactions"] is None
    assert held["PostgreSQL page of 50 transactions / plain (its best)"] is None
    assert held["PostgreSQL statement of 1000 lines"] is False
    assert held["SQLite statement of 1000 lines"] is True
    assert held["SQLite statement of 1000 lines / plain (its best)"] is False
    assert held["SQLite statement of 1000 lines / single"] is False
    assert held[f"PostgreSQL {OPENING}"] is True
    assert held[f"PostgreSQL {OPENING}, p99"] is False
    assert held[f"SQLite {OPENING} / plain (its best)"] is True


def test_bars_are_for_as_many_workers_as_they_say() -> None:
    held = {bar.name: bar.holds for bar in bars(Results(figures=reads_and_openings("sqlite", 2)))}
    assert held["SQLite account"] is None


@given(count=st.integers(2, 80))
def test_every_account_has_more_lines_than_a_page(count: int) -> None:
    pairs = ring(range(count))
    assert all(payer != payee for payer, payee in pairs)
    sides = Counter(side for pair in pairs for side in pair)
    assert set(sides) == set(range(count))
    assert set(sides.values()) == {PAGE + 2}


@given(count=st.integers(1, 80), lines=st.integers(1, 300))
def test_the_statement_has_its_lines_with_the_deposit(count: int, lines: int) -> None:
    pairs = fan(-1, range(count), lines)
    assert len(pairs) + 1 == lines
    assert {payer for payer, _ in pairs} <= {-1}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_quick_run_on_sqlite(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--quick", "--databases", "sqlite", "--out", str(out)]
    sections = {"plain", "single", "bulk", "hot", "reads", "accounts", "engine"}
    command += ["--only", *sorted(sections)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(out.read_text())
    assert {figure["section"] for figure in written["figures"]} == sections
    names = {figure["name"] for figure in written["figures"]}
    asked = {"account", "page of 50 transactions", "statement of 100 lines", OPENING}
    assert asked | {PLAIN + name for name in asked} <= names
    assert {f"{name} / plain (sqlite, 1 worker)" for name in asked} <= set(written["ratios"])
    assert all(figure["rate"] > 0 and figure["errors"] == 0 for figure in written["figures"])
    assert written["durability"]["sqlite"]["synchronous"] == "FULL"
