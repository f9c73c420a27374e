"""Sections `single`, `bulk`, `hot` and `reads`: Guilder over HTTP, everything on."""

import json
import time
from contextlib import suppress
from pathlib import Path

from bench.books import last_number
from bench.client import API, Customer, answers, populate
from bench.context import Case, Context
from bench.load import bulk, read, single
from bench.server import Server, run_guilder, running_guilder

HOT_CONNECTIONS = 64
OK = 200


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
        before = last_number(url)
        items = _transfers(context, server, customer, kind)
        if before is not None:
            _compare(context, name, (last_number(url) or 0) - before, items)
        if context.options.wants("reads") and workers == max(context.options.workers[kind]):
            _reads(context, server, customer, kind)
    verify(context, name, url, data)


def _transfers(context: Context, server: Server, customer: Customer, kind: str) -> float:
    """Measure all loads that move money; return how many transfers were acknowledged at least."""
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
    if not cases:
        return 0
    figures = context.measure(server, customer, cases, {"database": kind})
    return sum(rate * options.seconds for figure in figures for rate in figure.runs)


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


def _reads(context: Context, server: Server, customer: Customer, kind: str) -> None:
    """Measure reads: account, page of transactions, statement of a month, as JSON and as PDF."""
    month = time.strftime("%Y-%m", time.gmtime())
    statement = f"{API}/accounts/{customer.statement_account}/statement?month={month}"
    lines = context.options.statement_lines
    wanted = {
        "account": read(f"{API}/accounts/{{account}}"),
        "page of 50 transactions": read(f"{API}/accounts/{{account}}/transactions?limit=50"),
        f"statement of {lines} lines": read(statement, 4),
        f"statement of {lines} lines, PDF": read(f"{statement}&format=pdf", 4),
    }
    cases = []
    for name, load in wanted.items():
        probe = load.path.replace("{account}", customer.accounts[0])
        status = answers(server.base, customer, probe)
        if status == OK:
            cases.append(Case("reads", name, load, "requests/s"))
        else:
            context.results.notes.append(f"reads, {name}: not measured, answers {status}")
    context.measure(server, customer, cases, {"database": kind})


def _compare(context: Context, name: str, booked: int, acknowledged: float) -> None:
    """Check that what wrk saw acknowledged was booked: a fast answer must be a true one."""
    holds = booked >= int(acknowledged * 0.999)
    detail = f"{booked} booked, warm-up included; {acknowledged:.0f} acknowledged in the runs"
    context.results.check(f"{name}: acknowledged is booked", holds, detail)


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
