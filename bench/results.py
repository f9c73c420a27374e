"""What a run of the benchmark found: figures, ratios, and the bars they are held against."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.load import Run

DISTURBED = 0.2


@dataclass
class Figure:
    """One line of the table: the median of some runs."""

    section: str
    name: str
    database: str
    rate: float
    unit: str
    errors: int
    runs: list[float]
    workers: int | None = None
    connections: int | None = None
    batch: int | None = None
    hot: bool = False
    booked_before: int | None = None
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    cpu: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bar:
    """A promise, what was found, and whether it holds (nothing: not measured in this run)."""

    name: str
    wanted: str
    found: str
    holds: bool | None


@dataclass
class Results:
    """Everything one run found."""

    machine: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    durability: dict[str, dict[str, str]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, name: str, holds: bool, detail: str = "") -> None:
        """Keep the outcome of a check of the books."""
        self.checks.append({"name": name, "holds": holds, "detail": detail})

    def sound(self) -> bool:
        """Tell whether there was no error anywhere and every check of the books passed."""
        return all(figure.errors == 0 for figure in self.figures) and all(
            check["holds"] for check in self.checks
        )

    def find(self, **wanted: Any) -> list[Figure]:
        """Return the figures with these attributes."""
        return [
            figure
            for figure in self.figures
            if all(getattr(figure, name) == value for name, value in wanted.items())
        ]

    def best(self, **wanted: Any) -> float | None:
        """Return the best rate among the figures with these attributes."""
        return max((figure.rate for figure in self.find(**wanted)), default=None)

    def disturbed(self) -> list[str]:
        """Name the figures during which something else kept the cores busy."""
        return [
            f"{figure.database}: {figure.name}: {figure.cpu['others']} cores"
            for figure in self.figures
            if figure.cpu.get("others", 0.0) > DISTURBED
        ]

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        whole = asdict(self) | {
            "ratios": ratios(self),
            "bars": [asdict(bar) for bar in bars(self)],
            "disturbed": self.disturbed(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(whole, indent=2) + "\n")


def figure_of(runs: list[Run], *, unit: str, **facts: Any) -> Figure:
    """Sum up the runs of one load: medians, and errors of all of them."""

    def middle(pick: Callable[[Run], float]) -> float:
        return median(pick(run) for run in runs)

    return Figure(
        rate=middle(lambda run: run.rate),
        unit=unit,
        errors=sum(run.errors for run in runs),
        runs=[round(run.rate, 1) for run in runs],
        mean_ms=middle(lambda run: run.mean_ms),
        p50_ms=middle(lambda run: run.p50_ms),
        p95_ms=middle(lambda run: run.p95_ms),
        p99_ms=middle(lambda run: run.p99_ms),
        **facts,
    )


def quotient(above: float | None, below: float | None) -> float | None:
    """Divide, if both are there."""
    return above / below if above is not None and below else None


def _pairs(results: Results) -> Iterable[tuple[str, int]]:
    """Return each database and number of workers that was measured with Guilder."""
    found = {
        (figure.database, figure.workers or 1)
        for figure in results.figures
        if figure.section in {"single", "bulk"}
    }
    return sorted(found)


def ratios(results: Results) -> dict[str, float]:
    """Compute the ratios worth quoting; absolute figures move with the machine."""
    tpcb = results.best(section="tpcb")
    found: dict[str, float | None] = {}
    for database, workers in _pairs(results):
        where = f"{database}, {workers} worker{'s' if workers > 1 else ''}"
        here = {"database": database, "workers": workers}
        single = results.best(section="single", connections=64, **here)
        bulk = results.best(section="bulk", **here)
        found[f"single / plain with as many workers ({where})"] = quotient(
            single, results.best(section="plain", connections=64, **here)
        )
        found[f"single / plain with one worker ({where})"] = quotient(
            single, results.best(section="plain", connections=64, database=database, workers=1)
        )
        found[f"single / tpcb ({where})"] = quotient(single, tpcb)
        found[f"bulk / tpcb ({where})"] = quotient(bulk, tpcb)
        for name, ratio in hot_ratios(results, database, workers).items():
            found[f"hot / random, {name} ({where})"] = ratio
    for (database, kind), ratio in growth_ratios(results).items():
        found[f"cost with most / least history, {kind} ({database})"] = ratio
    return {name: round(ratio, 3) for name, ratio in found.items() if ratio is not None}


def hot_ratios(results: Results, database: str, workers: int) -> dict[str, float]:
    """Compare each hot load with the same load on random accounts."""
    found: dict[str, float] = {}
    for hot in results.find(section="hot", database=database, workers=workers, hot=True):
        same = results.best(
            hot=False,
            database=database,
            workers=workers,
            connections=hot.connections,
            batch=hot.batch,
            section="hot",
        ) or results.best(
            hot=False,
            database=database,
            workers=workers,
            connections=hot.connections,
            batch=hot.batch,
            section="single" if hot.batch is None else "bulk",
        )
        ratio = quotient(hot.rate, same)
        if ratio is not None:
            found["single" if hot.batch is None else f"bulk of {hot.batch}"] = ratio
    return found


def growth_ratios(results: Results) -> dict[tuple[str, str], float]:
    """Compare the cost of a transfer with the longest and the shortest history."""
    found: dict[tuple[str, str], float] = {}
    for database in ("postgresql", "sqlite"):
        for kind, batched in (("single", False), ("bulk", True)):
            figures = [
                figure
                for figure in results.find(section="growth", database=database)
                if (figure.batch is not None) == batched
            ]
            if len(figures) > 1:
                ordered = sorted(figures, key=lambda figure: figure.booked_before or 0)
                found[database, kind] = ordered[0].rate / ordered[-1].rate
    return found


def _at_least(name: str, found: float | None, bar: float, unit: str = "") -> Bar:
    shown = (
        "not measured"
        if found is None
        else f"{found:,.2f}{unit}"
        if bar < 100
        else f"{found:,.0f}{unit}"
    )
    return Bar(name, f"at least {bar:,g}{unit}", shown, None if found is None else found >= bar)


def _at_most(name: str, found: float | None, bar: float, unit: str = "") -> Bar:
    shown = "not measured" if found is None else f"{found:,.2f}{unit}"
    return Bar(name, f"at most {bar:,g}{unit}", shown, None if found is None else found <= bar)


def bars(results: Results) -> list[Bar]:
    """Hold the figures against the bars: PostgreSQL with two workers, SQLite with one."""
    two = {"database": "postgresql", "workers": 2}
    tpcb = results.best(section="tpcb")
    bulk = results.best(section="bulk", **two)
    single = results.best(section="single", connections=64, **two)
    tail = [figure.p99_ms for figure in results.find(section="single", connections=64, **two)]
    plain = results.best(section="plain", connections=64, database="postgresql")
    hot = [
        ratio
        for database, workers in _pairs(results)
        for ratio in hot_ratios(results, database, workers).values()
    ]
    growth = growth_ratios(results)
    return [
        _at_least("PostgreSQL bulk", bulk, 20_000, "/s"),
        _at_least("PostgreSQL bulk / TPC-B", quotient(bulk, tpcb), 4),
        _at_least("PostgreSQL single, 64 connections", single, 4_000, "/s"),
        _at_most("PostgreSQL single, 64 connections, p99", tail[0] if tail else None, 60, " ms"),
        _at_least("PostgreSQL single / plain (its best)", quotient(single, plain), 10),
        _at_least("PostgreSQL single / TPC-B", quotient(single, tpcb), 0.9),
        _at_least("SQLite bulk", results.best(section="bulk", database="sqlite"), 10_000, "/s"),
        _at_least("hot / random (the worst)", min(hot, default=None), 0.9),
        _at_most(
            "cost with most / least history (the worst)", max(growth.values(), default=None), 1.2
        ),
        Bar(
            "errors",
            "none",
            str(sum(figure.errors for figure in results.figures)),
            _no_errors(results),
        ),
        Bar(
            "checks of the books",
            "all",
            f"{sum(check['holds'] for check in results.checks)} of {len(results.checks)}",
            all(check["holds"] for check in results.checks) if results.checks else None,
        ),
    ]


def _no_errors(results: Results) -> bool | None:
    """Tell whether all requests got the expected answer."""
    return all(figure.errors == 0 for figure in results.figures) if results.figures else None
