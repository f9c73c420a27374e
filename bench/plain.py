"""Section `plain`: the service, under the load of Guilder's single transfers."""

import asyncio

from bench.client import EMAIL, PASSWORD, Customer
from bench.context import Case, Context
from bench.load import single
from bench.plain_models import books_are_sound, seed
from bench.server import running_plain

CONNECTIONS = 64


def measure_plain(context: Context, kind: str, workers: int) -> None:
    """Measure single transfers at 64 connections on a fresh database, then check the books."""
    name = f"plain_{kind}_{workers}"
    url = context.database(kind, name)
    options = context.options
    accounts = asyncio.run(seed(url, EMAIL, PASSWORD, options.accounts))
    customer = Customer(context.folder / f"{name}_customer", options.logins, accounts)
    case = Case("plain", f"plain, single, {CONNECTIONS} connections", single(CONNECTIONS))
    with running_plain(url, workers, context.log(name)) as server:
        context.measure(server, customer, [case], {"database": kind})
    sound = asyncio.run(books_are_sound(url, options.accounts))
    context.results.check(f"plain, {kind}, {workers} workers: books", sound)
