"""The baseline: how most FastAPI services move money, written with care and not slowed down.

One request is one session and one commit: decode the token, load the user, look for the idempotency
key, lock the two accounts (`SELECT ... FOR UPDATE` in id order on PostgreSQL, `BEGIN IMMEDIATE` on
SQLite), change the balances, insert the transfer and its two entries, commit, answer. It takes the
same request on the same path as Guilder, so the same load script measures both. Accounts are opened
with one insert and one commit, and what is read is in `bench.plain_reads`. Run by `bench.plain`;
`PLAIN_DATABASE_URL` and `PLAIN_SECRET` are its settings.
"""

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from bench.plain_models import Account, Entry, Transfer, User
from bench.plain_reads import AccountOut, router
from bench.plain_sessions import SECRET, TOKEN_SECONDS, ReadSession, Session, Writer

app = FastAPI(title="plain")
app.include_router(router)
hasher = PasswordHasher()


class Login(BaseModel):
    """Credentials for a token."""

    email: str
    password: str


class Token(BaseModel):
    """A bearer token."""

    access_token: str
    token_type: str = "bearer"
    expires_in: int = TOKEN_SECONDS


class AccountCreate(BaseModel):
    """The body of `POST /accounts`."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["checking", "savings"]
    currency: str = Field(min_length=3, max_length=3)
    name: str | None = Field(default=None, max_length=100)


class TransferCreate(BaseModel):
    """The body of `POST /transfers`."""

    model_config = ConfigDict(extra="forbid", strict=False)

    from_account_id: UUID
    to_account_id: UUID
    amount: Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]
    currency: str = Field(default="USD", min_length=3, max_length=3)
    description: str | None = Field(default=None, max_length=255)


class TransferOut(BaseModel):
    """The answer of `POST /transfers`."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: str = "posted"
    from_account_id: UUID
    to_account_id: UUID
    amount: int
    currency: str
    description: str | None
    created_at: datetime
    balance_after: int


def transfer_out(transfer: Transfer) -> TransferOut:
    """Turn a stored transfer into its answer."""
    return TransferOut.model_validate(transfer)


def find_pair(
    accounts: Sequence[Account], body: TransferCreate, user: User
) -> tuple[Account, Account]:
    """Return payer and payee, or refuse."""
    by_id = {account.id: account for account in accounts}
    payer, payee = by_id.get(body.from_account_id), by_id.get(body.to_account_id)
    if payer is None or payee is None or payer.user_id != user.id:
        raise HTTPException(404, "account not found")
    if payer.currency != body.currency or payee.currency != body.currency:
        raise HTTPException(422, "currency mismatch")
    if payer.balance < body.amount:
        raise HTTPException(400, "insufficient funds")
    return payer, payee


@app.post("/api/v1/sessions", status_code=201)
async def log_in(body: Login, session: ReadSession) -> Token:
    """Check a password and issue a token."""
    user = await session.scalar(select(User).where(User.email == body.email))
    try:
        hasher.verify(user.password_hash if user else "", body.password)
    except (VerifyMismatchError, ValueError) as error:
        raise HTTPException(401, "invalid credentials") from error
    assert user is not None
    claims = {"sub": str(user.id), "jti": str(uuid4()), "exp": int(time.time()) + TOKEN_SECONDS}
    return Token(access_token=jwt.encode(claims, SECRET, algorithm="HS256"))


@app.post("/api/v1/accounts", status_code=201)
async def open_account(body: AccountCreate, session: Session, user: Writer) -> AccountOut:
    """Open an account: one insert, one commit."""
    account = Account(
        id=uuid4(),
        user_id=user.id,
        account_number=f"{secrets.randbelow(10**15):015}",
        type=body.type,
        name=body.name or f"{body.type.capitalize()} account",
        currency=body.currency,
        status="active",
        balance=0,
        created_at=datetime.now(UTC),
    )
    session.add(account)
    await session.commit()
    return AccountOut.model_validate(account)


@app.post("/api/v1/transfers", status_code=201)
async def create_transfer(
    body: TransferCreate,
    session: Session,
    user: Writer,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=255)],
) -> TransferOut:
    """Move money between two accounts: one transaction, one commit."""
    if body.from_account_id == body.to_account_id:
        raise HTTPException(422, "same account")
    known = await session.scalar(
        select(Transfer).where(
            Transfer.user_id == user.id, Transfer.idempotency_key == idempotency_key
        )
    )
    if known is not None:
        return transfer_out(known)
    ids = sorted([body.from_account_id, body.to_account_id])
    lock = select(Account).where(Account.id.in_(ids)).order_by(Account.id).with_for_update()
    payer, payee = find_pair((await session.scalars(lock)).all(), body, user)
    payer.balance -= body.amount
    payee.balance += body.amount
    now = datetime.now(UTC)
    transfer = Transfer(
        id=uuid4(),
        user_id=user.id,
        idempotency_key=idempotency_key,
        from_account_id=payer.id,
        to_account_id=payee.id,
        amount=body.amount,
        currency=body.currency,
        description=body.description,
        created_at=now,
        balance_after=payer.balance,
    )
    transfer.entries = [
        Entry(account_id=account.id, amount=delta, balance_after=account.balance, created_at=now)
        for account, delta in ((payer, -body.amount), (payee, body.amount))
    ]
    session.add(transfer)
    await session.commit()
    return transfer_out(transfer)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is up."""
    return {"status": "healthy"}
