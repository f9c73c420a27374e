"""Products, accounts, balances, lines and statements over HTTP."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from guilder.api.auth import requires
from guilder.api.compression import compressed
from guilder.api.deps import Part, TheCipher, TheRunner
from guilder.api.exchange import Exchange
from guilder.api.idempotency import IdempotencyKey, once_of
from guilder.api.openapi import refusals
from guilder.api.pagination import PageOut, PageQuery, page_body
from guilder.api.replies import Reply, json_response
from guilder.api.routing import lean
from guilder.api.schema import (
    A_RANGES_EDGE,
    Day,
    InstantInput,
    QueryAmount,
    QueryMonth,
    QueryText,
    RangeEnd,
    RangeStart,
    Uuid,
)
from guilder.api.validation import read_body
from guilder.core.actor import Actor
from guilder.core.clock import day_date, day_number, day_of, day_start
from guilder.core.errors import FieldError, Invalid, Place
from guilder.core.page import Page
from guilder.core.permissions import Permission
from guilder.domains.accounts import queries, rules
from guilder.domains.accounts.commands import OpenAccount, open_account
from guilder.domains.accounts.errors import (
    CurrencyNotOffered,
    MonthBeforeOpening,
    MonthInFuture,
)
from guilder.domains.accounts.schemas import (
    AccountCreate,
    AccountOut,
    BalanceOut,
    LineOut,
    ProductOut,
    Side,
    StatementOut,
    TransactionStatus,
    account_body,
    balance_body,
    line_body,
    new_account,
    past_balance_body,
    product_body,
    statement_body,
)
from guilder.domains.accounts.services import Counterparties
from guilder.domains.ledger.errors import AccountNotFound
from guilder.domains.ledger.queries import LineFilter, bank_now
from guilder.domains.ledger.services import PastReader

AccountsReader = Annotated[Actor, requires(Permission.ACCOUNTS_READ)]
AccountsWriter = Annotated[Actor, requires(Permission.ACCOUNTS_WRITE)]
ThePast = Annotated[PastReader, Depends(Part(PastReader))]
TheOthers = Annotated[Counterparties, Depends(Part(Counterparties))]

router = APIRouter(tags=["accounts"])

_NOT_FOUND: Final = refusals(AccountNotFound)


@router.get("/products", response_model=PageOut[ProductOut])
@compressed
async def list_products(_actor: AccountsReader, runner: TheRunner) -> Reply:
    """What kinds of accounts can be opened, and in which currencies: those of ISO 4217 today."""
    today = day_date(day_of(await runner.read(bank_now)))
    page = Page(list(rules.PRODUCTS.values()), None)
    return json_response(200, page_body(page, lambda product: product_body(product, today)))


async def post_account(exchange: Exchange) -> Reply:
    """Answers ``POST /accounts``."""
    body = read_body(AccountCreate, exchange.document)
    return await once_of(exchange).run(
        open_account,
        OpenAccount(body.type, body.currency, body.name),
        exchange.actor,
        lambda row: account_body(new_account(row)),
        place="/accounts/{id}",
    )


@router.post(
    "/accounts",
    status_code=201,
    response_model=AccountOut,
    responses=refusals(Invalid, CurrencyNotOffered),
)
@lean(post_account)
async def create_account(body: AccountCreate, actor: AccountsWriter, _key: IdempotencyKey) -> None:
    """Open an account of one's own. Its balance is zero."""


@router.get("/accounts", response_model=PageOut[AccountOut])
@compressed
async def list_accounts(actor: AccountsReader, runner: TheRunner, page: PageQuery) -> Reply:
    """One's own accounts, newest first."""
    found = await runner.read(queries.list_accounts, actor, page)
    return json_response(200, page_body(found, account_body))


@router.get("/accounts/{account_id}", response_model=AccountOut, responses=_NOT_FOUND)
async def get_account(account_id: Uuid, actor: AccountsReader, runner: TheRunner) -> Reply:
    """An account with its balance: posted, held, and what is available."""
    found = await runner.read(queries.get_account, actor, account_id)
    return json_response(200, account_body(found))


@router.get("/accounts/{account_id}/balance", response_model=BalanceOut, responses=_NOT_FOUND)
async def get_balance(
    account_id: Uuid,
    actor: AccountsReader,
    runner: TheRunner,
    past: ThePast,
    at: Annotated[InstantInput | None, Query(description="Booked by this instant.")] = None,
    on: Annotated[Day | None, Query(description="At the end of this value date.")] = None,
) -> Reply:
    """The balance now, at an instant of booking, or at the end of a value date.

    The answer for an instant that is over never changes.
    """
    if at is not None and on is not None:
        message = "Ask for an instant or for a date, not for both."
        raise Invalid(fields=(FieldError("on", "not_with_at", message, Place.QUERY),))
    if at is not None:
        row, found = await past.read(at, queries.get_balance_at, actor, account_id, at)
        return json_response(200, past_balance_body(row, found, at_us=at))
    if on is not None:
        day = day_number(on)
        end = day_start(day + 1) - 1
        row, found = await past.read(end, queries.get_balance_on, actor, account_id, day)
        return json_response(200, past_balance_body(row, found, on=on))
    account = await runner.read(queries.get_account, actor, account_id)
    return json_response(200, balance_body(account))


@router.get(
    "/accounts/{account_id}/transactions",
    response_model=PageOut[LineOut],
    responses=_NOT_FOUND,
)
@compressed
async def list_transactions(
    account_id: Uuid,
    actor: AccountsReader,
    past: ThePast,
    others: TheOthers,
    cipher: TheCipher,
    page: PageQuery,
    from_: Annotated[
        RangeStart | None,
        Query(alias="from", description=f"Booked at or after this: {A_RANGES_EDGE}."),
    ] = None,
    to: Annotated[
        RangeEnd | None,
        Query(
            description=f"Booked before this instant, or on this date or before: {A_RANGES_EDGE}."
        ),
    ] = None,
    type: Annotated[Side | None, Query(description="Only credits, or only debits.")] = None,
    min_amount: Annotated[
        QueryAmount | None, Query(description="This amount or more, in minor units.")
    ] = None,
    max_amount: Annotated[
        QueryAmount | None, Query(description="This amount or less, in minor units.")
    ] = None,
    q: Annotated[
        QueryText | None,
        Query(
            description="Words that all stand in description or reference, in any "
            "case. A word without accents finds those with accents, too."
        ),
    ] = None,
    status: Annotated[
        TransactionStatus | None, Query(description="Only what is booked, or only what is not yet.")
    ] = None,
) -> Reply:
    """An account's lines, newest first. All filters can be combined.

    A range of instants or amounts that ends before it starts is no error and has no lines. Up to a
    `to` that is over the lines never change.
    """
    credit = None if type is None else type == "credit"
    wanted = LineFilter(from_, to, credit, min_amount, max_amount, q or None)
    found = await past.read(
        None if to is None else to - 1,
        queries.list_lines,
        actor,
        account_id,
        wanted,
        page,
        pending=status == "pending",
    )
    sides = await others.of(actor, found.items)
    return json_response(200, page_body(found, line_body(sides, cipher)))


@router.get(
    "/accounts/{account_id}/statement",
    response_model=StatementOut,
    responses=refusals(AccountNotFound, Invalid, MonthBeforeOpening, MonthInFuture),
)
@compressed
async def get_statement(
    account_id: Uuid,
    actor: AccountsReader,
    past: ThePast,
    others: TheOthers,
    cipher: TheCipher,
    month: Annotated[QueryMonth, Query(description="A calendar month in UTC, `YYYY-MM`.")],
) -> Reply:
    """A month of an account: balances before and after, the sums between, and the lines.

    The statement of a month that is over never changes.
    """
    wanted = rules.Month(month)
    last_us = wanted.bounds[1] - 1
    found = await past.read(last_us, queries.statement, actor, account_id, wanted)
    sides = await others.of(actor, found.lines)
    return json_response(200, statement_body(found, sides, cipher))
