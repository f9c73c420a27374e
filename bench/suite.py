"""The order of a run: TPC-B, plain, Guilder, growth and engine on each database, TPC-B again."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import asyncpg
import httpx

from bench import tpcb
from bench.context import Context
from bench.engine import measure_engine
from bench.growth import measure_growth
from bench.guilder import measure_guilder
from bench.load import LoadError
from bench.machine import facts, is_memory
from bench.options import Options
from bench.plain import measure_plain
from bench.postgres import running_postgres
from bench.results import Results
from bench.server import ServerError

SQLITE_DURABILITY = {
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "checked": "set and read back by both services, which refuse to start otherwise",
}
FAILURES = (
    ServerError,
    LoadError,
    RuntimeError,
    OSError,
    httpx.HTTPError,
    asyncpg.PostgresError,
    ExceptionGroup,
)


def run_suite(options: Options, tell: Callable[[str], None]) -> Results:
    """Run what was asked for; a section that cannot run is noted and makes the run fail."""
    results = Results(options={name: str(value) for name, value in asdict(options).items()})
    with _workspace(options) as folder:
        results.machine = facts(folder)
        if is_memory(folder):
            results.check(
                "disk",
                False,
                f"{folder} lies in memory: flushing costs nothing there; see --folder",
            )
        context = Context(options, folder, results, tell)
        with _database_server(context):
            _measure(context)
    return results


@contextlib.contextmanager
def _workspace(options: Options) -> Iterator[Path]:
    """Make a folder for databases and logs, on a real disk, and remove it at the end."""
    parent = options.folder or Path("/var/tmp")
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="guilder-bench-", dir=parent) as name:
        yield Path(name).resolve()


@contextlib.contextmanager
def _database_server(context: Context) -> Iterator[None]:
    """Run PostgreSQL if any section needs it."""
    if "postgresql" not in context.options.databases:
        yield
        return
    context.tell("starting PostgreSQL")
    with running_postgres(context.folder) as server:
        context.postgres = server
        context.results.durability["postgresql"] = server.settings()
        yield


def _measure(context: Context) -> None:
    """Run the wanted sections in order."""
    options = context.options
    if "sqlite" in options.databases:
        context.results.durability["sqlite"] = SQLITE_DURABILITY
    _tpcb(context, "before")
    for kind in options.databases:
        for workers in options.workers[kind]:
            if options.wants("plain"):
                _section(
                    context,
                    f"plain, {kind}",
                    partial(measure_plain, context, kind, workers),
                )
        for workers in options.workers[kind]:
            if options.wants("single", "bulk", "hot", "reads", "accounts"):
                _section(
                    context,
                    f"guilder, {kind}",
                    partial(measure_guilder, context, kind, workers),
                )
        if options.wants("growth"):
            _section(context, f"growth, {kind}", partial(measure_growth, context, kind))
        if options.wants("engine"):
            _section(context, f"engine, {kind}", partial(measure_engine, context, kind))
    _tpcb(context, "after")


def _tpcb(context: Context, moment: str) -> None:
    """Measure TPC-B before or after the rest."""
    server, options = context.postgres, context.options
    if server is None or not options.wants("tpcb"):
        return

    def measure() -> None:
        if moment == "before":
            tpcb.prepare(server, options.scale)
        context.results.figures.extend(tpcb.measure(server, options, moment, context.tell))

    _section(context, f"tpcb {moment}", measure)


def _section(context: Context, name: str, measure: Callable[[], None]) -> None:
    """Run one section; a failure is kept, told, and does not stop the others."""
    try:
        measure()
    except FAILURES as error:
        context.tell(f"{name}: FAILED: {error!r}")
        context.results.check(f"{name}: ran to its end", False, repr(error))
