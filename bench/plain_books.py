"""The books of the plain service: the rows it starts with, and the check of them afterwards."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from bench.plain_models import Account, Base, Entry, Transfer, User, open_engine
from bench.stage import FUNDS, Pair, fan, ring

CURRENCY = "USD"


@dataclass(frozen=True)
class Seeded:
    """The accounts that pay each other, and the one whose month is read."""

    accounts: list[str]
    statement_account: str


@dataclass
class _Books:
    """Rows in the making; a balance follows what is booked."""

    user_id: UUID
    now: datetime
    accounts: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    transfers: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def open(self, user_id: UUID, number: int) -> UUID:
        """Open an account."""
        found = uuid4()
        self.accounts[found] = {
            "id": found,
            "user_id": user_id,
            "account_number": f"{number:015}",
            "type": "checking",
            "name": "Checking account",
            "currency": CURRENCY,
            "status": "active",
            "balance": 0,
            "created_at": self.now,
        }
        return found

    def book(self, pairs: Iterable[Pair[UUID]], amount: int, description: str | None) -> None:
        """Move an amount from each payer to its payee, a microsecond after the transfer before."""
        for payer, payee in pairs:
            self.now += timedelta(microseconds=1)
            transfer = uuid4()
            for account, delta in ((payer, -amount), (payee, amount)):
                self.accounts[account]["balance"] += delta
                entry = {
                    "transfer_id": transfer,
                    "account_id": account,
                    "amount": delta,
                    "balance_after": self.accounts[account]["balance"],
                    "created_at": self.now,
                }
                self.entries.append(entry)
            row = {
                "id": transfer,
                "user_id": self.user_id,
                "idempotency_key": str(uuid4()),
                "from_account_id": payer,
                "to_account_id": payee,
                "amount": amount,
                "currency": CURRENCY,
                "description": description,
                "created_at": self.now,
                "balance_after": self.accounts[payer]["balance"],
            }
            self.transfers.append(row)


async def seed(
    url: str, login: tuple[str, str], accounts: int, statement_lines: int, *, pages: bool
) -> Seeded:
    """Create the tables, one user and funded accounts with the lines that Guilder's have.

    `pages` gives each account more lines than a page has.
    """
    bank_id, user_id = uuid4(), uuid4()
    bank = {"id": bank_id, "email": "bank@example.com", "password_hash": "", "is_active": False}
    email, password = login
    hashed = PasswordHasher().hash(password)
    user = {"id": user_id, "email": email, "password_hash": hashed, "is_active": True}
    books = _Books(user_id, datetime.now(UTC))
    settlement = books.open(bank_id, 0)
    *payers, statement_account = [books.open(user_id, number) for number in range(1, accounts + 2)]
    deposits = [(settlement, account) for account in (*payers, statement_account)]
    books.book(deposits, FUNDS, "Deposit")
    books.book(fan(statement_account, payers, statement_lines), 100, None)
    if pages:
        books.book(ring(payers), 100, None)
    await _insert(url, [bank, user], books)
    return Seeded([str(account) for account in payers], str(statement_account))


async def _insert(url: str, users: Sequence[dict[str, Any]], books: _Books) -> None:
    """Create the tables and insert all rows in one transaction."""
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(User), users)
        await connection.execute(insert(Account), list(books.accounts.values()))
        await connection.execute(insert(Transfer), books.transfers)
        await connection.execute(insert(Entry), books.entries)
    await engine.dispose()


async def books_are_sound(url: str) -> bool:
    """Check that no money appeared or vanished and that each transfer has its two entries."""
    engine = open_engine(url)
    async with AsyncSession(engine) as session:
        total = await session.scalar(select(func.sum(Account.balance)))
        entries = (
            await session.execute(select(func.count(), func.coalesce(func.sum(Entry.amount), 0)))
        ).one()
        transfers = await session.scalar(select(func.count()).select_from(Transfer))
    await engine.dispose()
    return total == 0 and tuple(entries) == (2 * (transfers or 0), 0)
