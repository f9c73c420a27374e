"""Command line of the benchmark: `python -m bench --help`."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from bench.options import DATABASES, SECTIONS, Options, quick
from bench.report import print_report
from bench.results import bars
from bench.suite import run_suite

RESULTS = Path(__file__).parent / "results"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Guilder, the plain design and pgbench."
    )
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--databases", nargs="+", choices=DATABASES, help="default: both")
    parser.add_argument("--seconds", type=int, help="length of a run (10)")
    parser.add_argument("--runs", type=int, help="runs a figure, the median counts (3)")
    parser.add_argument("--warmup", type=int, help="seconds of load before the first run (3)")
    parser.add_argument("--accounts", type=int, help="accounts that pay each other (1000)")
    parser.add_argument(
        "--connections", type=int, nargs="+", help="for single transfers (1 16 64 128)"
    )
    parser.add_argument("--batches", type=int, nargs="+", help="sizes of a bulk request (100 1000)")
    parser.add_argument("--workers", type=int, nargs="+", help="on PostgreSQL (1 2)")
    parser.add_argument(
        "--levels", type=int, nargs="+", help="history for growth (10000 100000 1000000)"
    )
    parser.add_argument("--scale", type=int, help="scale of pgbench (30)")
    parser.add_argument("--threads", type=int, help="threads of wrk (1)")
    parser.add_argument("--description", help='text in every transfer, "" for none')
    parser.add_argument(
        "--folder", type=Path, help="where databases live during the run, on a real disk (/var/tmp)"
    )
    parser.add_argument("--out", type=Path, help="file for the results, besides bench/results/")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: one second, little history"
    )
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    return parser.parse_args(arguments)


def options_of(given: argparse.Namespace) -> Options:
    """Turn the command line into options."""
    plain = (
        "seconds",
        "runs",
        "warmup",
        "accounts",
        "scale",
        "threads",
        "description",
        "folder",
        "out",
    )
    several = ("databases", "connections", "batches", "levels")
    chosen: dict[str, Any] = {name: getattr(given, name) for name in plain}
    chosen |= {name: tuple(value) for name in several if (value := getattr(given, name))}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if given.only:
        chosen["sections"] = tuple(given.only)
    if given.workers:
        chosen["workers"] = {"postgresql": tuple(given.workers), "sqlite": (1,)}
    return quick(chosen) if given.quick else Options(**chosen)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Leave in good order on SIGTERM: servers are stopped and folders removed on the way out."""
    sys.exit(143)


def main() -> int:
    """Run it; 0 if no error, the books verify and, with --strict, all bars hold."""
    given = parse()
    signal.signal(signal.SIGTERM, _leave)
    console = Console(width=None if sys.stdout.isatty() else 200)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    start = time.monotonic()

    def tell(text: str) -> None:
        progress.print(f"[{time.monotonic() - start:6.0f} s] {text}", markup=False)

    options = options_of(given)
    results = run_suite(options, tell)
    print_report(results, console)
    paths = [RESULTS / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime())]
    paths += [options.out] if options.out else []
    for path in paths:
        results.save(path)
        console.print(f"Written: {path}")
    missed = [bar for bar in bars(results) if bar.holds is False]
    return 1 if not results.sound() or (given.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
