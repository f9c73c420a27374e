"""What a run of the benchmark found: figures, ratios, and the bars they are held against."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.load import Run

DISTURBED = 0.2
DATABASES = {"postgresql": ("PostgreSQL", 2), "sqlite": ("SQLite", 1)}
"""Each database with its name and the workers of Guilder that its bars are for."""
PLAIN = "plain, "
"""What a figure of the plain service is called before the name of its twin of Guilder."""
OPENING = "opening an account, 16 connections"


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


@dataclass(frozen=True)
class Promise:
    """What a load beside transfers must reach: requests a second, and as a share of a transfer's.

    `of_single` is against single transfers at 16 connections, in the same run.
    """

    section: str
    name: str
    rates: dict[str, float]
    of_single: float
    p99_ms: float | None = None


PROMISES = (
    Promise("reads", "account", {"postgresql": 4_000, "sqlite": 2_500}, 1),
    Promise("reads", "page of 50 transactions", {"postgresql": 1_500, "sqlite": 800}, 0.35),
    Promise("reads", "statement of 1000 lines", {"postgresql": 150, "sqlite": 80}, 0.03),
    Promise("accounts", OPENING, {"postgresql": 1_200, "sqlite": 800}, 0.25, p99_ms=60),
)


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
        if figure.section in {"single", "bulk", "reads", "accounts"}
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
        for figure in results.find(**here):
            if figure.section in {"reads", "accounts"}:
                found[f"{figure.name} / plain ({where})"] = of_plain(results, figure)
                found[f"{figure.name} / single ({where})"] = of_single(results, figure)
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


def of_plain(results: Results, figure: Figure) -> float | None:
    """Compare a read or an opening with the plain service's at its best."""
    twin = results.best(section="plain", name=PLAIN + figure.name, database=figure.database)
    return quotient(figure.rate, twin)


def of_single(results: Results, figure: Figure) -> float | None:
    """Compare a read or an opening with single transfers, all at 16 connections."""
    single = results.best(
        section="single", connections=16, database=figure.database, workers=figure.workers
    )
    return quotient(figure.rate, single)


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
    digits = 0 if bar >= 100 else 2 if bar >= 0.1 else 3
    shown = "not measured" if found is None else f"{found:,.{digits}f}{unit}"
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
        *(
            bar
            for promise in PROMISES
            for database in DATABASES
            for bar in _kept(results, promise, database)
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


def _kept(results: Results, promise: Promise, database: str) -> list[Bar]:
    """Hold one load beside transfers against what is promised on a database."""
    label, workers = DATABASES[database]
    wanted = {"section": promise.section, "name": promise.name, "database": database}
    figure = next(iter(results.find(workers=workers, **wanted)), None)
    rate: float | None = None
    tail, plain, single = rate, rate, rate
    if figure is not None:
        rate, plain, single = figure.rate, of_plain(results, figure), of_single(results, figure)
        tail = figure.p99_ms if rate else None
    name = f"{label} {promise.name}"
    found = [_at_least(name, rate, promise.rates[database], "/s")]
    if promise.p99_ms is not None:
        found.append(_at_most(f"{name}, p99", tail, promise.p99_ms, " ms"))
    found.append(_at_least(f"{name} / plain (its best)", plain, 1))
    found.append(_at_least(f"{name} / single", single, promise.of_single))
    return found


def _no_errors(results: Results) -> bool | None:
    """Tell whether all requests got the expected answer."""
    return all(figure.errors == 0 for figure in results.figures) if results.figures else None
