"""The plain service's reads: an account, a page of its lines, its statement of a month.

Each is a session with a few statements: the user, the account, and the columns of its lines in one
join, by the index on account and moment. Answers are response models, as FastAPI's documentation
has them.
"""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Row, Select, case, select, tuple_
from sqlalchemy.orm import aliased

from bench.plain_models import Account, Entry, Transfer
from bench.plain_sessions import Reader, ReadSession

router = APIRouter(prefix="/api/v1/accounts/{account_id}")
Other = aliased(Account)


class AccountOut(BaseModel):
    """An account with its balance."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    account_number: str
    type: str
    name: str
    currency: str
    status: str
    balance: int
    created_at: datetime


class CounterpartyOut(BaseModel):
    """The other side of a line."""

    account_id: UUID
    account_number: str
    name: str


class LineOut(BaseModel):
    """One side of a transfer, as the account's owner sees it."""

    id: int
    transfer_id: UUID
    type: str
    amount: int
    currency: str
    balance_after: int
    description: str | None
    counterparty: CounterpartyOut
    booked_at: datetime


class PageOut(BaseModel):
    """Lines, newest first, and where the next page starts."""

    items: list[LineOut]
    next_cursor: str | None
    has_more: bool


class StatementOut(BaseModel):
    """A month: the balances before and after, the sums between, and the lines."""

    account: AccountOut
    starts_on: date
    currency: str
    starting_balance: int
    ending_balance: int
    total_credits: int
    total_debits: int
    transaction_count: int
    transactions: list[LineOut]


async def own_account(account_id: UUID, session: ReadSession, user: Reader) -> Account:
    """Load the account; another's is not there."""
    account = await session.get(Account, account_id)
    if account is None or account.user_id != user.id:
        raise HTTPException(404, "account not found")
    return account


Own = Annotated[Account, Depends(own_account)]


def select_lines(account: Account) -> Select[*tuple[Any, ...]]:
    """Select the columns of an account's lines and who is on the other side."""
    other_id = case((Entry.amount < 0, Transfer.to_account_id), else_=Transfer.from_account_id)
    return (
        select(
            Entry.id,
            Entry.transfer_id,
            Entry.amount,
            Entry.balance_after,
            Entry.created_at,
            Transfer.currency,
            Transfer.description,
            Other.id.label("other_id"),
            Other.account_number.label("other_number"),
            Other.name.label("other_name"),
        )
        .join(Transfer, Transfer.id == Entry.transfer_id)
        .join(Other, Other.id == other_id)
        .where(Entry.account_id == account.id)
    )


def line_out(row: Row[Any]) -> LineOut:
    """Turn a row into its answer."""
    return LineOut(
        id=row.id,
        transfer_id=row.transfer_id,
        type="credit" if row.amount > 0 else "debit",
        amount=abs(row.amount),
        currency=row.currency,
        balance_after=row.balance_after,
        description=row.description,
        counterparty=CounterpartyOut(
            account_id=row.other_id, account_number=row.other_number, name=row.other_name
        ),
        booked_at=row.created_at,
    )


def encode_cursor(row: Row[Any]) -> str:
    """Name the place behind a line."""
    place = json.dumps([row.created_at.isoformat(), row.id])
    return base64.urlsafe_b64encode(place.encode()).decode()


def decode_cursor(cursor: str) -> tuple[datetime, int]:
    """Read a place, or refuse."""
    try:
        moment, number = json.loads(base64.urlsafe_b64decode(cursor))
        return datetime.fromisoformat(moment), int(number)
    except (ValueError, TypeError) as error:
        raise HTTPException(422, "invalid cursor") from error


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """Return where a month starts and where the next one does."""
    try:
        start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise HTTPException(422, "invalid month") from error
    return start, start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


@router.get("")
async def get_account(account: Own) -> AccountOut:
    """An account with its balance."""
    return AccountOut.model_validate(account)


@router.get("/transactions")
async def list_transactions(
    account: Own,
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: str | None = None,
) -> PageOut:
    """A page of an account's lines, newest first."""
    lines = select_lines(account).order_by(Entry.created_at.desc(), Entry.id.desc())
    if cursor is not None:
        lines = lines.where(tuple_(Entry.created_at, Entry.id) < decode_cursor(cursor))
    rows = (await session.execute(lines.limit(limit + 1))).all()
    more = len(rows) > limit
    return PageOut(
        items=[line_out(row) for row in rows[:limit]],
        next_cursor=encode_cursor(rows[limit - 1]) if more else None,
        has_more=more,
    )


@router.get("/statement")
async def get_statement(account: Own, session: ReadSession, month: str) -> StatementOut:
    """A month of an account."""
    start, end = month_bounds(month)
    before = (
        select(Entry.balance_after)
        .where(Entry.account_id == account.id, Entry.created_at < start)
        .order_by(Entry.created_at.desc(), Entry.id.desc())
        .limit(1)
    )
    starting = await session.scalar(before) or 0
    lines = (
        select_lines(account)
        .where(Entry.created_at >= start, Entry.created_at < end)
        .order_by(Entry.created_at, Entry.id)
    )
    return statement_out(account, start, starting, (await session.execute(lines)).all())


def statement_out(
    account: Account, start: datetime, starting: int, rows: Sequence[Row[Any]]
) -> StatementOut:
    """Sum a month's rows up."""
    return StatementOut(
        account=AccountOut.model_validate(account),
        starts_on=start.date(),
        currency=account.currency,
        starting_balance=starting,
        ending_balance=rows[-1].balance_after if rows else starting,
        total_credits=sum(row.amount for row in rows if row.amount > 0),
        total_debits=-sum(row.amount for row in rows if row.amount < 0),
        transaction_count=len(rows),
        transactions=[line_out(row) for row in rows],
    )
