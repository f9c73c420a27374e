"""Section `growth`: does a transfer cost more when much has been booked already?

A database is filled to each level and kept as a template. Every run starts from a fresh copy of it,
so that a run's own bookings do not blur the level, and the levels take turns, so that a drift of
the machine meets all of them.
"""

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.books import last_number
from bench.client import Customer, fill, populate
from bench.context import Context
from bench.cpu import cores_used, middle_of
from bench.guilder import verify
from bench.load import Load, Run, bulk, single
from bench.results import figure_of
from bench.server import running_guilder


@dataclass(frozen=True)
class Stage:
    """A filled database, at rest."""

    level: int
    name: str
    data: Path


def measure_growth(context: Context, kind: str) -> None:
    """Measure single and bulk at each level of history."""
    workers = max(context.options.workers[kind])
    customer = Customer(context.folder / f"growth_{kind}_customer", context.options.logins)
    stages = _fill_stages(context, kind, workers, customer)
    loads = {"single, 64 connections": single(64), "bulk of 1000": bulk(1000)}
    if context.options.quick:
        loads = {"single, 16 connections": single(16), "bulk of 100": bulk(100)}
    for name, load in loads.items():
        runs: dict[Stage, list[Run]] = {stage: [] for stage in stages}
        used: dict[Stage, list[dict[str, float]]] = {stage: [] for stage in stages}
        for number in range(context.options.runs):
            for stage in stages:
                run, cores = _run(context, kind, workers, customer, stage, load)
                runs[stage].append(run)
                used[stage].append(cores)
                where = f"{kind}, growth: {name} after {stage.level}"
                context.tell(f"{where}: run {number + 1}: {run.rate:,.0f} transfers/s")
        for stage in stages:
            figure = figure_of(
                runs[stage],
                unit="transfers/s",
                section="growth",
                name=f"{name}, {stage.level:,} booked",
                database=kind,
                workers=workers,
                connections=load.connections,
                batch=load.batch or None,
                booked_before=stage.level,
                cpu=middle_of(used[stage]),
            )
            context.results.figures.append(figure)
    for stage in stages:
        _drop(context, kind, stage.name)


def _fill_stages(context: Context, kind: str, workers: int, customer: Customer) -> list[Stage]:
    """Fill one database after the other, each starting as a copy of the one before."""
    stages: list[Stage] = []
    for level in context.options.levels:
        name = f"growth_{kind}_{level}"
        data = context.folder / f"{name}_data"
        if stages:
            url = _copy(context, kind, stages[-1], name, data)
        else:
            url = context.database(kind, name)
            data.mkdir()
        context.tell(f"{kind}, growth: filling up to {level:,} transfers")
        with running_guilder(url, data, workers, context.log(name)) as server:
            customer.forget_tokens()
            if not stages:
                populate(server.base, customer, context.options.accounts, 2)
            fill(
                server.base,
                customer,
                level - (last_number(url) or (stages[-1].level if stages else 0)),
            )
        stages.append(Stage(level, name, data))
        verify(context, name, url, data)
    return stages


def _run(
    context: Context, kind: str, workers: int, customer: Customer, stage: Stage, load: Load
) -> tuple[Run, dict[str, float]]:
    """Measure a load once on a fresh copy of a stage."""
    name = f"growth_{kind}_run"
    data = context.folder / f"{name}_data"
    url = _copy(context, kind, stage, name, data)
    if context.postgres is not None:
        context.postgres.checkpoint()
    with running_guilder(url, data, workers, context.log(name)) as server:
        customer.forget_tokens()
        context.run(server, customer, load, 1)
        time.sleep(context.options.settle)
        with cores_used(context.watched(kind, server.pid)) as cores:
            run = context.run(server, customer, load, context.options.seconds)
        return run, cores


def _copy(context: Context, kind: str, stage: Stage, name: str, data: Path) -> str:
    """Copy a stage's database and data folder; return the copy's address."""
    _drop(context, kind, name)
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(stage.data, data)
    if kind == "postgresql":
        assert context.postgres is not None
        return context.postgres.create_database(name, template=stage.name)
    home, source = context.folder / name, context.folder / stage.name
    home.mkdir()
    for path in source.iterdir():
        shutil.copy2(path, home / path.name.replace(stage.name, name, 1))
    return f"sqlite:///{home}/{name}.sqlite3"


def _drop(context: Context, kind: str, name: str) -> None:
    """Remove a database."""
    if kind == "postgresql":
        assert context.postgres is not None
        context.postgres.drop_database(name)
        return
    with suppress(FileNotFoundError):
        shutil.rmtree(context.folder / name)
