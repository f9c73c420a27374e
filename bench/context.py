"""What all sections of a run share: options, folders, results, and the measuring itself."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.client import Customer
from bench.cpu import cores_used, middle_of
from bench.load import Load, Run, run_wrk
from bench.options import Options
from bench.postgres import Postgres
from bench.results import Figure, Results, figure_of
from bench.server import Server


@dataclass(frozen=True)
class Case:
    """One load to measure, and what the table says about it."""

    section: str
    name: str
    load: Load
    unit: str = "transfers/s"


@dataclass
class Context:
    """The shared state of a run."""

    options: Options
    folder: Path
    results: Results
    tell: Callable[[str], None]
    postgres: Postgres | None = None

    def database(self, kind: str, name: str) -> str:
        """Create an empty database and return its address."""
        if kind == "postgresql":
            assert self.postgres is not None
            self.postgres.checkpoint()
            return self.postgres.create_database(name)
        home = self.folder / name
        home.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{home}/{name}.sqlite3"

    def settle(self, kind: str, name: str) -> None:
        """Let PostgreSQL's planner know what is in the tables, as it does after a minute."""
        if kind == "postgresql" and self.postgres is not None:
            self.postgres.execute("ANALYZE", database=name)
            self.postgres.checkpoint()

    def log(self, name: str) -> Path:
        """Return the log file of a server."""
        return self.folder / f"{name}.log"

    def run(self, server: Server, customer: Customer, load: Load, seconds: int) -> Run:
        """Run a load once, with tokens that will outlast it."""
        customer.log_in(server.base)
        return run_wrk(
            server.base,
            load,
            customer.folder,
            seconds,
            threads=self.options.threads,
            description=self.options.description,
        )

    def watched(self, kind: str, server: int) -> dict[str, int]:
        """Return the processes whose use of the cores is told."""
        found = {"server": server}
        if kind == "postgresql" and self.postgres is not None:
            found["database"] = self.postgres.pid
        return found

    def measure(
        self, server: Server, customer: Customer, cases: Sequence[Case], facts: Mapping[str, Any]
    ) -> list[Figure]:
        """Measure cases in turns, so that a drift of the machine meets all of them alike."""
        watched = self.watched(facts["database"], server.pid)
        for case in cases:
            self.tell(f"{facts['database']}: {case.name}: warm-up")
            self.run(server, customer, case.load, self.options.warmup)
        runs: dict[Case, list[Run]] = {case: [] for case in cases}
        used: dict[Case, list[dict[str, float]]] = {case: [] for case in cases}
        for number in range(self.options.runs):
            for case in cases:
                time.sleep(self.options.settle)
                with cores_used(watched) as cores:
                    run = self.run(server, customer, case.load, self.options.seconds)
                runs[case].append(run)
                used[case].append(cores)
                where = f"{facts['database']}, {server.workers} workers: {case.name}"
                errors = f", {run.errors} ERRORS" if run.errors else ""
                self.tell(f"{where}: run {number + 1}: {run.rate:,.0f} {case.unit}{errors}")
        found = [self._figure(case, runs[case], used[case], server, facts) for case in cases]
        self.results.figures.extend(found)
        return found

    def compare(self, name: str, booked: int, figures: Sequence[Figure]) -> None:
        """Check that what wrk saw acknowledged was booked: a fast answer must be a true one."""
        acknowledged = sum(rate * self.options.seconds for each in figures for rate in each.runs)
        holds = booked >= int(acknowledged * 0.999)
        detail = f"{booked} booked, warm-up included; {acknowledged:.0f} acknowledged in the runs"
        self.results.check(f"{name}: acknowledged is booked", holds, detail)

    def _figure(
        self,
        case: Case,
        runs: list[Run],
        used: list[dict[str, float]],
        server: Server,
        facts: Mapping[str, Any],
    ) -> Figure:
        figure = figure_of(
            runs,
            unit=case.unit,
            section=case.section,
            name=case.name,
            workers=server.workers,
            connections=case.load.connections,
            batch=case.load.batch or None,
            hot=case.load.hot,
            **facts,
        )
        return replace(figure, cpu=middle_of(used))
