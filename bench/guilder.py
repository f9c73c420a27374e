"""Sections `single`, `bulk`, `hot`, `reads` and `accounts`: Guilder over HTTP, everything on."""

import json
import time
from contextlib import suppress
from pathlib import Path

from bench.books import last_number
from bench.client import Customer, fill_pages, populate
from bench.context import Case, Context
from bench.load import bulk, single
from bench.requests import measure_openings, measure_reads
from bench.results import Figure
from bench.server import Server, run_guilder, running_guilder

HOT_CONNECTIONS = 64


def measure_guilder(context: Context, kind: str, workers: int) -> None:
    """Measure the wanted sections on a fresh database, then verify the books."""
    name = f"guilder_{kind}_{workers}"
    url = context.database(kind, name)
    data = context.folder / f"{name}_data"
    data.mkdir()
    customer = Customer(context.folder / f"{name}_customer", context.options.logins)
    with running_guilder(url, data, workers, context.log(name)) as server:
        context.tell(f"{kind}, {workers} workers: opening {context.options.accounts} accounts")
        options = context.options
        populate(server.base, customer, options.accounts, options.statement_lines)
        if options.wants("reads"):
            fill_pages(server.base, customer)
        context.settle(kind, name)
        before = last_number(url)
        figures = _transfers(context, server, customer, kind)
        if before is not None:
            context.compare(name, (last_number(url) or 0) - before, figures)
        if workers == max(options.workers[kind]):
            if options.wants("reads"):
                measure_reads(context, server, customer, kind)
            if options.wants("accounts"):
                measure_openings(context, server, customer, kind, url)
    verify(context, name, url, data)


def _transfers(context: Context, server: Server, customer: Customer, kind: str) -> list[Figure]:
    """Measure all loads that move money."""
    options = context.options
    cases: list[Case] = []
    if options.wants("single"):
        cases += [
            Case("single", f"single, {number} connections", single(number))
            for number in options.connections
        ]
    if options.wants("hot"):
        cases += _hot_cases(context)
    if options.wants("bulk"):
        cases += [Case("bulk", f"bulk of {size}", bulk(size)) for size in options.batches]
    return context.measure(server, customer, cases, {"database": kind})


def _hot_cases(context: Context) -> list[Case]:
    """Return the loads with one account in every transfer, and their random twins if missing."""
    options = context.options
    cases = [
        Case(
            "hot", f"single, {HOT_CONNECTIONS} connections, hot", single(HOT_CONNECTIONS, hot=True)
        )
    ]
    if not (options.wants("single") and HOT_CONNECTIONS in options.connections):
        cases.append(Case("hot", f"single, {HOT_CONNECTIONS} connections", single(HOT_CONNECTIONS)))
    for size in options.batches:
        cases.append(Case("hot", f"bulk of {size}, hot", bulk(size, hot=True)))
        if not options.wants("bulk"):
            cases.append(Case("hot", f"bulk of {size}", bulk(size)))
    return cases


def verify(context: Context, name: str, url: str, data: Path) -> None:
    """Run `guilder verify` and keep its outcome."""
    context.tell(f"{name}: guilder verify")
    start = time.monotonic()
    done = run_guilder(url, data, "verify", "--json")
    taken = time.monotonic() - start
    detail = (done.stdout.strip() or done.stderr.strip())[-2000:]
    with suppress(ValueError):
        detail = json.dumps(json.loads(done.stdout))
    context.results.check(
        f"{name}: guilder verify", done.returncode == 0, f"{taken:.1f} s: {detail}"
    )
