"""Tables and engine of the plain service, and the rows it starts with.

The schema follows the same idea as Guilder's: accounts with a balance, transfers with a unique
idempotency key, two entries a transfer with the balance after. Durability is the same too:
PostgreSQL as `bench.postgres` starts it, SQLite in WAL mode with `synchronous=FULL`, set on every
connection and read back.
"""

import sys
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pysqlite3.dbapi2
from argon2 import PasswordHasher
from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    event,
    func,
    select,
)
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# Connections a process; tried 8, 16, 32, 64 and 1, 2, 4, 8, 16: these were the fastest.
POOL_SIZE = {"postgresql": 32, "sqlite": 8}
FUNDS = 1_000_000_000


class Base(DeclarativeBase):
    """Root of the plain service's tables."""


class User(Base):
    """Somebody who can log in."""

    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True)


class Account(Base):
    """An account with its balance in minor units."""

    __tablename__ = "accounts"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    currency: Mapped[str] = mapped_column(String(3))
    balance: Mapped[int] = mapped_column(BigInteger)


class Transfer(Base):
    """One movement of money; the idempotency key is unique for its user."""

    __tablename__ = "transfers"
    __table_args__ = (UniqueConstraint("user_id", "idempotency_key"),)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    idempotency_key: Mapped[str] = mapped_column(String(255))
    from_account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    to_account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    description: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    balance_after: Mapped[int] = mapped_column(BigInteger)
    entries: Mapped[list["Entry"]] = relationship()


class Entry(Base):
    """One side of a transfer."""

    __tablename__ = "entries"
    __table_args__ = (Index("ix_entries_account", "account_id", "id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    balance_after: Mapped[int] = mapped_column(BigInteger)


def open_engine(url: str) -> AsyncEngine:
    """Open the engine for a plain `sqlite:///` or `postgresql://` address."""
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return create_async_engine(
            parsed.set(drivername="postgresql+asyncpg"), pool_size=POOL_SIZE[kind], max_overflow=0
        )
    sys.modules["sqlite3"] = pysqlite3.dbapi2
    engine = create_async_engine(
        parsed.set(drivername="sqlite+aiosqlite"), pool_size=POOL_SIZE[kind], max_overflow=0
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Set the durable settings on a new SQLite connection and read them back."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("busy_timeout=20000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.execute("PRAGMA journal_mode")
    mode = cursor.fetchone()[0]
    cursor.execute("PRAGMA synchronous")
    level = cursor.fetchone()[0]
    cursor.close()
    if (mode, level) != ("wal", 2):
        raise RuntimeError(f"SQLite is not durable: journal_mode={mode}, synchronous={level}")


def _begin_immediate(connection: Connection) -> None:
    """Take SQLite's write lock at once, so that a read never has to be upgraded."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def open_sessions(url: str) -> async_sessionmaker[AsyncSession]:
    """Make the factory of sessions for a database."""
    return async_sessionmaker(open_engine(url), expire_on_commit=False)


async def seed(url: str, email: str, password: str, accounts: int) -> list[str]:
    """Create the tables, one user and funded accounts; return the account ids."""
    engine = open_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    user = User(id=uuid4(), email=email, password_hash=PasswordHasher().hash(password))
    rows = [
        Account(id=uuid4(), user_id=user.id, currency="USD", balance=FUNDS) for _ in range(accounts)
    ]
    async with AsyncSession(engine) as session:
        session.add(user)
        await session.flush()
        session.add_all(rows)
        ids = [str(row.id) for row in rows]
        await session.commit()
    await engine.dispose()
    return ids


async def books_are_sound(url: str, accounts: int) -> bool:
    """Check that no money appeared or vanished and that each transfer has its two entries."""
    engine = open_engine(url)
    async with AsyncSession(engine) as session:
        total = await session.scalar(select(func.sum(Account.balance)))
        entries = (
            await session.execute(select(func.count(), func.coalesce(func.sum(Entry.amount), 0)))
        ).one()
        transfers = await session.scalar(select(func.count()).select_from(Transfer))
    await engine.dispose()
    return total == accounts * FUNDS and tuple(entries) == (2 * (transfers or 0), 0)
