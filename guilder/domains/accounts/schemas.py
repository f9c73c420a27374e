"""The wire format of accounts: what is read, what is written, and how rows become bodies."""

from datetime import date
from typing import Literal
from uuid import UUID

from guilder.api.replies import JsonObject
from guilder.api.schema import Currency, Instant, Name100, RequestBody, ResponseBody
from guilder.core.clock import day_date, iso_instant
from guilder.core.ids import NumberCipher
from guilder.core.money import exponent_of
from guilder.domains.accounts.queries import Account, Line, Statement
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.accounts.rules import PRODUCTS, Product, category, line_id
from guilder.domains.ledger.queries import Balance, value_day


class ProductOut(ResponseBody):
    id: UUID
    code: str
    type: str
    name: str
    currencies: list[str]


class ProductsOut(ResponseBody):
    items: list[ProductOut]
    next_cursor: None
    has_more: Literal[False]


class AccountCreate(RequestBody):
    type: Literal["checking", "savings"]
    currency: Currency
    name: Name100 | None = None


class AccountOut(ResponseBody):
    id: UUID
    account_number: str
    type: str
    name: str
    currency: str
    exponent: int
    status: Literal["active"]
    balance: int
    held: int
    available_balance: int
    created_at: Instant
    version: int


class BalanceOut(ResponseBody):
    """``held``, ``available_balance`` and ``version`` are of the present only."""

    account_id: UUID
    currency: str
    exponent: int
    balance: int
    held: int | None
    available_balance: int | None
    version: int | None
    at: Instant | None
    on: date | None


class CounterpartyOut(ResponseBody):
    account_id: UUID
    account_number: str | None
    name: str


class LineOut(ResponseBody):
    id: UUID
    transfer_id: UUID
    type: Literal["credit", "debit"]
    amount: int
    currency: str
    balance_after: int
    description: str | None
    reference: str | None
    category: str
    counterparty: CounterpartyOut
    booked_at: Instant
    value_on: date
    status: Literal["posted"]


class AccountPart(ResponseBody):
    id: UUID
    account_number: str
    type: str
    name: str
    currency: str
    exponent: int


class PeriodOut(ResponseBody):
    month: str
    starts_on: date
    ends_on: date


class StatementOut(ResponseBody):
    """The sums are of the whole month, also when the list of transactions is cut short."""

    account: AccountPart
    period: PeriodOut
    currency: str
    exponent: int
    starting_balance: int
    ending_balance: int
    total_credits: int
    total_debits: int
    transaction_count: int
    transactions: list[LineOut]
    transactions_truncated: bool


def product_body(product: Product) -> JsonObject:
    """A product in its wire form."""
    return {
        "id": product.id,
        "code": product.code,
        "type": product.type,
        "name": product.name,
        "currencies": product.currencies,
    }


def account_body(account: Account) -> JsonObject:
    """An account in its wire form."""
    row, balance = account.row, account.balance
    return {
        **_part_body(row),
        "status": row.status,
        "balance": balance.posted,
        "held": balance.held,
        "available_balance": balance.available,
        "created_at": iso_instant(row.created_at),
        "version": balance.version,
    }


def balance_body(account: Account) -> JsonObject:
    """The present balance in its wire form."""
    balance = account.balance
    now = {"held": balance.held, "available_balance": balance.available, "version": balance.version}
    return {**past_balance_body(account.row, balance.posted), **now}


def past_balance_body(
    row: AccountRow, balance: int, at_us: int | None = None, on: date | None = None
) -> JsonObject:
    """A balance at an instant or at the end of a value date."""
    return {
        "account_id": row.id,
        "currency": row.currency,
        "exponent": exponent_of(row.currency),
        "balance": balance,
        "held": None,
        "available_balance": None,
        "version": None,
        "at": None if at_us is None else iso_instant(at_us),
        "on": on,
    }


def line_body(line: Line, cipher: NumberCipher) -> JsonObject:
    """A line in its wire form. Thousands are made for a statement."""
    row, other = line
    transfer, credit = row.transfer, row.delta > 0
    public_id = cipher.uuid_text(transfer.id, transfer.booked_at)
    return {
        "id": line_id(public_id, credit),
        "transfer_id": public_id,
        "type": "credit" if credit else "debit",
        "amount": abs(row.delta),
        "currency": transfer.asset,
        "balance_after": row.balance_after,
        "description": transfer.description,
        "reference": transfer.reference,
        "category": category(transfer.kind, other.bank_code, credit),
        "counterparty": {
            "account_id": other.account_id,
            "account_number": other.account_number,
            "name": other.name,
        },
        "booked_at": iso_instant(transfer.booked_at),
        "value_on": day_date(value_day(transfer)).isoformat(),
        "status": "posted",
    }


def statement_body(statement: Statement, cipher: NumberCipher) -> JsonObject:
    """A statement in its wire form."""
    part, totals, month = _part_body(statement.account), statement.totals, statement.month
    return {
        "account": part,
        "period": {"month": str(month), "starts_on": month.first, "ends_on": month.last},
        "currency": part["currency"],
        "exponent": part["exponent"],
        "starting_balance": totals.starting,
        "ending_balance": totals.ending,
        "total_credits": totals.credits,
        "total_debits": totals.debits,
        "transaction_count": totals.count,
        "transactions": [line_body(line, cipher) for line in statement.lines],
        "transactions_truncated": statement.truncated,
    }


def new_account(row: AccountRow) -> Account:
    """An account that was opened a moment ago: nothing has been booked on it."""
    floor = PRODUCTS[row.product_code].floor
    return Account(row, Balance(0, 0, 0, 0, 0, row.currency, floor))


def _part_body(row: AccountRow) -> JsonObject:
    """What does not depend on the moment."""
    return {
        "id": row.id,
        "account_number": row.account_number,
        "type": PRODUCTS[row.product_code].type,
        "name": row.name,
        "currency": row.currency,
        "exponent": exponent_of(row.currency),
    }
