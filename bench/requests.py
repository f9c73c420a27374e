"""What is asked besides transfers, of Guilder and of the plain service alike: reads and openings.

Both answer the same requests on the same paths, so a figure of one has its twin of the same name.
"""

import time
from http import HTTPStatus

from bench.books import opened_accounts
from bench.client import API, Customer, get
from bench.context import Case, Context
from bench.load import Load, opening, read
from bench.results import OPENING, PLAIN
from bench.server import Server
from bench.stage import PAGE

PDF_CONNECTIONS = 4
"""A rendering takes long: sixteen at once would wait for each other and not for the bank."""


def measure_reads(
    context: Context, server: Server, customer: Customer, kind: str, *, plain: bool = False
) -> None:
    """Measure reads: account, page of transactions, statement of a month, as JSON and as PDF."""
    lines = context.options.statement_lines
    wanted = {
        "account": read(f"{API}/accounts/{{account}}"),
        f"page of {PAGE} transactions": read(
            f"{API}/accounts/{{account}}/transactions?limit={PAGE}"
        ),
        f"statement of {lines} lines": read(_statement(customer)),
    }
    _check_lines(context, server, customer, (PLAIN if plain else "") + kind)
    if not plain and _has_pdf(context, server, customer):
        path = f"{_statement(customer)}&format=pdf"
        wanted[f"statement of {lines} lines, PDF"] = read(path, PDF_CONNECTIONS)
    cases = [_case("reads", name, load, plain) for name, load in wanted.items()]
    context.measure(server, customer, cases, {"database": kind})


def measure_openings(
    context: Context,
    server: Server,
    customer: Customer,
    kind: str,
    url: str,
    *,
    plain: bool = False,
) -> None:
    """Measure the opening of accounts, and check that as many are there as were acknowledged."""
    before = opened_accounts(url)
    case = _case("accounts", OPENING, opening(16), plain)
    figures = context.measure(server, customer, [case], {"database": kind})
    context.compare(f"{case.name}, {kind}", opened_accounts(url) - before, figures)


def _case(section: str, name: str, load: Load, plain: bool) -> Case:
    """Return a load as the table has it: the plain service's are all in its own section."""
    if plain:
        return Case("plain", PLAIN + name, load, "requests/s")
    return Case(section, name, load, "requests/s")


def _statement(customer: Customer) -> str:
    """Return the path of this month's statement of the account that has so many lines."""
    month = time.strftime("%Y-%m", time.gmtime())
    return f"{API}/accounts/{customer.statement_account}/statement?month={month}"


def _check_lines(context: Context, server: Server, customer: Customer, name: str) -> None:
    """Check that a page is full and has a next one, and that the statement has all its lines."""
    statement = get(server.base, customer, _statement(customer)).raise_for_status().json()
    found = [len(statement["transactions"]), statement["transaction_count"]]
    holds = found == [context.options.statement_lines] * 2
    for account in customer.accounts[:: max(1, len(customer.accounts) // 10)]:
        path = f"{API}/accounts/{account}/transactions?limit={PAGE}"
        page = get(server.base, customer, path).raise_for_status().json()
        found.append(len(page["items"]))
        holds &= len(page["items"]) == PAGE and page["next_cursor"] is not None
    detail = f"lines of the statement, listed and counted, and of some pages: {found}"
    context.results.check(f"{name}: what is read has its lines", holds, detail)


def _has_pdf(context: Context, server: Server, customer: Customer) -> bool:
    """Tell whether there are statements as PDF, and note it if not."""
    status = get(server.base, customer, f"{_statement(customer)}&format=pdf").status_code
    if status != HTTPStatus.OK:
        note = f"reads, statement as PDF: not measured, answers {status}"
        context.results.notes.append(note)
    return status == HTTPStatus.OK
