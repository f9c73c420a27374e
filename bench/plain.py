"""Section `plain`: the plain service under Guilder's loads: transfers, reads, openings."""

import asyncio

from bench.client import EMAIL, PASSWORD, Customer
from bench.context import Case, Context
from bench.load import single
from bench.plain_books import books_are_sound, seed
from bench.requests import measure_openings, measure_reads
from bench.results import PLAIN
from bench.server import running_plain

CONNECTIONS = 64


def measure_plain(context: Context, kind: str, workers: int) -> None:
    """Measure on a fresh database, then check the books.

    Single transfers at 64 connections always; with as many workers as Guilder has for them, reads
    and openings too if their sections are wanted.
    """
    name = f"plain_{kind}_{workers}"
    url = context.database(kind, name)
    options = context.options
    seeded = asyncio.run(
        seed(
            url,
            (EMAIL, PASSWORD),
            options.accounts,
            options.statement_lines,
            pages=options.wants("reads"),
        )
    )
    context.settle(kind, name)
    customer = Customer(
        context.folder / f"{name}_customer",
        options.logins,
        seeded.accounts,
        seeded.statement_account,
    )
    case = Case("plain", f"{PLAIN}single, {CONNECTIONS} connections", single(CONNECTIONS))
    with running_plain(url, workers, context.log(name)) as server:
        context.measure(server, customer, [case], {"database": kind})
        if workers == max(options.workers[kind]):
            if options.wants("reads"):
                measure_reads(context, server, customer, kind, plain=True)
            if options.wants("accounts"):
                measure_openings(context, server, customer, kind, url, plain=True)
    sound = asyncio.run(books_are_sound(url))
    context.results.check(f"plain, {kind}, {workers} workers: books", sound)
