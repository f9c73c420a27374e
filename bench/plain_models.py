"""Tables and engine of the plain service.

The schema follows the same idea as Guilder's: accounts with a balance, transfers with a unique
idempotency key, two entries a transfer with the balance after. Durability is the same too:
PostgreSQL as `bench.postgres` starts it, SQLite in WAL mode with `synchronous=FULL`, set on every
connection and read back. Each question that a route asks has its index.
"""

import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pysqlite3
from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    TypeDecorator,
    UniqueConstraint,
    event,
)
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# Connections a process; tried 8, 16, 32, 64 and 1, 2, 4, 8, 16: these were the fastest.
POOL_SIZE = {"postgresql": 32, "sqlite": 8}


class _Utc(TypeDecorator[datetime]):
    """SQLite keeps no zone: what is there is UTC."""

    impl = DateTime
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say so."""
        return value and value.replace(tzinfo=UTC)


INSTANT = DateTime(timezone=True).with_variant(_Utc(), "sqlite")


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
    account_number: Mapped[str] = mapped_column(String(16), unique=True)
    type: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(100))
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(16), default="active")
    balance: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(INSTANT)


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
    created_at: Mapped[datetime] = mapped_column(INSTANT)
    balance_after: Mapped[int] = mapped_column(BigInteger)
    entries: Mapped[list["Entry"]] = relationship()


class Entry(Base):
    """One side of a transfer, with its moment: an account's newest and a month are one range."""

    __tablename__ = "entries"
    __table_args__ = (Index("ix_entries_account", "account_id", "created_at", "id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    balance_after: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(INSTANT)


def open_engine(url: str) -> AsyncEngine:
    """Open the engine for a plain `sqlite:///` or `postgresql://` address."""
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return create_async_engine(
            parsed.set(drivername="postgresql+asyncpg"), pool_size=POOL_SIZE[kind], max_overflow=0
        )
    sys.modules["sqlite3"] = pysqlite3  # as Guilder does: two would not be each other
    engine = create_async_engine(
        parsed.set(drivername="sqlite+aiosqlite"), pool_size=POOL_SIZE[kind], max_overflow=0
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin)
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


def _begin(connection: Connection) -> None:
    """Take SQLite's write lock at once, so that a read never has to be upgraded.

    A session that only reads takes none and waits for nobody.
    """
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def open_sessions(
    url: str,
) -> tuple[async_sessionmaker[AsyncSession], async_sessionmaker[AsyncSession]]:
    """Make the factories of sessions that write and of those that only read."""
    engine = open_engine(url)
    readers = engine.execution_options(reads_only=True)
    return (
        async_sessionmaker(engine, expire_on_commit=False),
        async_sessionmaker(readers, expire_on_commit=False),
    )
