"""The wire format of accounts: what is read, what is written, and how rows become bodies."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, WithJsonSchema

from guilder.api.replies import JsonObject
from guilder.api.schema import (
    Amount,
    Count,
    Currency,
    Exponent,
    Instant,
    Money,
    Name100,
    RequestBody,
    ResponseBody,
    Sum,
)
from guilder.core.clock import iso_day, iso_instant
from guilder.core.ids import NumberCipher
from guilder.core.money import MAX_AMOUNT, exponent_of
from guilder.domains.accounts.queries import (
    MAX_STATEMENT_LINES,
    Account,
    Counterparty,
    Statement,
)
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.accounts.rules import PRODUCTS, Product, category, line_id
from guilder.domains.ledger.queries import Balance, LineRow, value_day

_NUMBER_SCHEMA: Final = {
    "type": "string",
    "pattern": "^[0-9]{12}$",
    "description": "An account number.",
    "examples": ["886572367243"],
}
AccountNumberText = Annotated[str, WithJsonSchema(_NUMBER_SCHEMA)]

type AccountStatus = Annotated[
    Literal["active", "frozen", "closed"],
    Field(description="`frozen` stops some or all movements; a `closed` account has none."),
]
type TransactionStatus = Annotated[
    Literal["pending", "posted"],
    Field(description="`pending` is set aside and not booked yet; `posted` never changes."),
]
type Side = Annotated[
    Literal["credit", "debit"],
    Field(description="A `credit` raises the account's balance, a `debit` lowers it."),
]


class ProductOut(ResponseBody):
    """What can be opened."""

    id: UUID = Field(description="The product's id.")
    code: str = Field(description="The product's code, stable.", examples=["checking"])
    type: str = Field(description="The kind of account.", examples=["checking"])
    name: str = Field(description="The name, for people.", examples=["Checking account"])
    currencies: list[Currency] = Field(
        description="The currencies in which it is offered.", examples=[["EUR", "JPY"]]
    )


class AccountCreate(RequestBody):
    """Which account to open."""

    type: Literal["checking", "savings"] = Field(description="The kind of account.")
    currency: Currency = Field(description="The currency of the account; it never changes.")
    name: Name100 | None = Field(
        None, description="The owner's name for it, else the product's.", examples=["Everyday"]
    )


class AccountPart(ResponseBody):
    """What an account is, whatever happens on it."""

    id: UUID = Field(description="The account's id.")
    account_number: AccountNumberText = Field(
        description="Twelve digits that people give each other; the last is a check digit."
    )
    type: str = Field(description="The kind of account.", examples=["checking"])
    name: str = Field(description="The owner's name for it.", examples=["Everyday"])
    currency: Currency = Field(description="The currency of the account.")
    exponent: Exponent


class AccountOut(AccountPart):
    """An account with its balance."""

    status: AccountStatus = Field(description="What may happen on it.")
    balance: Money = Field(description="What has been booked, in minor units.")
    held: Sum = Field(description="What of it is set aside by holds.", examples=[0])
    available_balance: Money = Field(
        description="What can be paid with: the balance less what is held, and the overdraft."
    )
    created_at: Instant = Field(description="When it was opened.")
    version: Count = Field(description="How many entries it has; grows with each.", examples=[12])


class BalanceOut(ResponseBody):
    """``held``, ``available_balance`` and ``version`` are of the present only."""

    account_id: UUID = Field(description="The account's id.")
    currency: Currency = Field(description="The currency of the account.")
    exponent: Exponent
    balance: Money = Field(description="What had been booked by then, in minor units.")
    held: Sum | None = Field(description="What of it is set aside by holds.", examples=[0])
    available_balance: Money | None = Field(description="What can be paid with.")
    version: Count | None = Field(description="How many entries the account has.")
    at: Instant | None = Field(description="The instant that was asked for.", examples=[None])
    on: date | None = Field(description="The value date that was asked for.", examples=[None])


class CounterpartyOut(ResponseBody):
    """The other side, as the account's owner may see it."""

    account_id: UUID = Field(description="The id of the other account.")
    account_number: AccountNumberText | None = Field(
        description="Its number; null for an account of the bank's own."
    )
    name: str = Field(description="Whose it is, for people.", examples=["Jonas Weber"])


class LineOut(ResponseBody):
    """One side of a transfer, as the account's owner sees it."""

    id: UUID = Field(description="The line's id.")
    transfer_id: UUID = Field(description="The id of the transfer; both sides have it.")
    type: Side = Field(description="Whether it raised the balance or lowered it.")
    amount: Amount
    currency: Currency = Field(description="The currency of the amount.")
    balance_after: Money = Field(description="The account's balance after it.")
    description: str | None = Field(description="What it was for.", examples=["Rent March"])
    reference: str | None = Field(description="The payer's reference.", examples=["INV-2026-031"])
    category: str = Field(description="What kind of movement it was.", examples=["transfer"])
    counterparty: CounterpartyOut = Field(description="The other side.")
    booked_at: Instant = Field(description="When it was booked.")
    value_on: date = Field(description="The day by which it counts for interest.")
    status: TransactionStatus = Field(description="How far it has come.", examples=["posted"])


class PeriodOut(ResponseBody):
    """The days of a statement, both included."""

    month: str = Field(description="The calendar month, `YYYY-MM`.", examples=["2026-10"])
    starts_on: date = Field(description="The first day.", examples=["2026-10-01"])
    ends_on: date = Field(description="The last day.", examples=["2026-10-31"])


class StatementOut(ResponseBody):
    """The sums are of the whole month, also when the list of transactions is cut short.

    A sum that would pass 2^53-1 is given as that, and ``totals_truncated`` is true.
    """

    account: AccountPart = Field(description="The account.")
    period: PeriodOut = Field(description="The month.")
    currency: Currency = Field(description="The currency of all amounts.")
    exponent: Exponent
    starting_balance: Money = Field(
        description="The balance before the first line.", examples=[85_000]
    )
    ending_balance: Money = Field(description="The balance after the last line.")
    total_credits: Sum = Field(description="The sum of all credits.", examples=[60_000])
    total_debits: Sum = Field(description="The sum of all debits.", examples=[20_000])
    transaction_count: Count = Field(description="How many lines the month has.", examples=[1])
    transactions: list[LineOut] = Field(
        description="The lines, in order of booking: at most the first "
        f"{MAX_STATEMENT_LINES:,} of the month."
    )
    transactions_truncated: bool = Field(
        description="Whether the month has more lines than are listed. All of them are in pages at "
        "`GET /accounts/{account_id}/transactions`, by `from` and `to`.",
        examples=[False],
    )
    totals_truncated: bool = Field(
        description="Whether a sum is larger than the largest number that JSON holds.",
        examples=[False],
    )


def product_body(product: Product, today: date) -> JsonObject:
    """A product in its wire form, with the currencies that it can be opened in today."""
    return {
        "id": product.id,
        "code": product.code,
        "type": product.type,
        "name": product.name,
        "currencies": product.currencies_on(today),
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


def line_body(
    others: Mapping[int, Counterparty], cipher: NumberCipher
) -> Callable[[LineRow], JsonObject]:
    """What makes lines their wire form, with ``others`` on the other side.

    Thousands are made for a statement, so it calls as little as it can.
    """
    sides = {
        number: {
            "account_id": other.account_id,
            "account_number": other.account_number,
            "name": other.name,
        }
        for number, other in others.items()
    }

    def body(row: LineRow) -> JsonObject:
        (
            delta, balance_after, number, kind, payer, payee, _amount, booked_at, asset, _value_on,
            description, reference,
        ) = row  # fmt: skip
        credit = delta > 0
        other = payer if credit else payee
        transfer_id = cipher.uuid_text(number, booked_at)
        return {
            "id": line_id(transfer_id, credit),
            "transfer_id": transfer_id,
            "type": "credit" if credit else "debit",
            "amount": delta if credit else -delta,
            "currency": asset,
            "balance_after": balance_after,
            "description": description,
            "reference": reference,
            "category": category(kind, others[other].bank_code, credit),
            "counterparty": sides[other],
            "booked_at": iso_instant(booked_at),
            "value_on": iso_day(value_day(row)),
            "status": "posted",
        }

    return body


def statement_body(
    statement: Statement, others: Mapping[int, Counterparty], cipher: NumberCipher
) -> JsonObject:
    """A statement in its wire form."""
    part, totals, month = _part_body(statement.account), statement.totals, statement.month
    return {
        "account": part,
        "period": {"month": str(month), "starts_on": month.first, "ends_on": month.last},
        "currency": part["currency"],
        "exponent": part["exponent"],
        "starting_balance": totals.starting,
        "ending_balance": totals.ending,
        "total_credits": min(totals.credits, MAX_AMOUNT),
        "total_debits": min(totals.debits, MAX_AMOUNT),
        "transaction_count": totals.count,
        "transactions": list(map(line_body(others, cipher), statement.lines)),
        "transactions_truncated": statement.truncated,
        "totals_truncated": max(totals.credits, totals.debits) > MAX_AMOUNT,
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
