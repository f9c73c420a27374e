"""What the database itself refuses, whoever asks: bent types and changed history."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import Column, MetaData, Table, insert, select

from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock
from guilder.db.application_role import APPLICATION_ROLE, SET_ROLE
from guilder.db.base import Flagged, Guid
from guilder.db.engine import sqlite_path
from guilder.db.migrate import migration_engine
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.ledger.commands import EnsureBankAccounts, ensure_bank_accounts, post
from guilder.domains.ledger.models import PARTITIONS
from guilder.domains.ledger.rules.state import Posting, Unit
from tests.db import owner
from tests.db.house import START, House

PARTS = (*[f"ledger_transfers_p{n:02}" for n in range(PARTITIONS)], "ledger_transfers_rest")
MONEY = {
    "ledger_balances": (
        "debits", "credits", "debits_pending", "credits_pending", "floor", "ceiling",
    ),
    "ledger_transfers": ("amount",),
    "ledger_entries": ("delta", "balance_after"),
    "ledger_holds": ("remaining",),
    "ledger_limits": ("max_amount", "used_amount"),
}  # fmt: skip
COLUMN = {
    "ledger_transfers": "amount", "ledger_entries": "delta", "ledger_idempotency": "transfer_id",
    "ledger_batches": "last_no", "ledger_search": "transfer_id", "audit_events": "at",
}  # fmt: skip
FINAL = tuple(COLUMN)


@pytest.fixture
async def booked(database_url: str) -> str:
    """A database in which every table of the books has a row."""
    house = House(database_url)
    clock = FixedClock(START)
    bank = await house.runner.run(ensure_bank_accounts, EnsureBankAccounts("USD", START), SYSTEM)

    async def book(uow: UnitOfWork, _cmd: EnsureBankAccounts) -> None:
        posting = Posting(
            bank["settlement"], bank["equity"], 100, "USD", key=b"k" * 16, reference="r"
        )
        await post(uow, clock, [Unit([posting])])

    await house.runner.run(book, EnsureBankAccounts("USD", START), SYSTEM)
    await house.database.close()
    return database_url


def refused(url: str, words: str) -> Any:
    kind = sqlite3.Error if url.startswith("sqlite") else asyncpg.PostgresError
    return pytest.raises(kind, match=words)


async def test_every_table_on_sqlite_is_strict(sqlite_url: str) -> None:
    lax = await owner.rows(sqlite_url, "SELECT name FROM pragma_table_list WHERE NOT strict")
    assert {name for (name,) in lax if not name.startswith("sqlite_")} == {"alembic_version"}


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, cols in MONEY.items() for c in cols])
def test_sqlite_refuses_what_is_no_whole_number_in_a_money_column(
    sqlite_url: str, table: str, column: str
) -> None:
    connection = sqlite3.connect(sqlite_path(sqlite_url))
    columns = [row[:4] for row in connection.execute(f"PRAGMA table_info({table})")]
    some = {"INTEGER": 1, "TEXT": "x", "BLOB": b"x"}
    for value in (1.5, 9.3e18, 2.0**63, "x", "1.5", b"1"):
        values = [value if name == column else some[kind] for _, name, kind, _ in columns]
        with pytest.raises(sqlite3.IntegrityError, match=f"INTEGER column {table}.{column}"):
            connection.execute(
                f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values
            )
    connection.close()


async def test_an_overflow_inside_the_database_is_refused_and_not_bent(booked: str) -> None:
    with refused(booked, "cannot store REAL|out of range"):
        await owner.execute(booked, "UPDATE ledger_balances SET debits = 9223372036854775807 + 1")
    with refused(booked, "counters"):
        await owner.execute(booked, "UPDATE ledger_balances SET credits_pending = -1")


@pytest.mark.parametrize("amount", [0, -5])
async def test_a_transfer_of_nothing_or_less_is_refused(booked: str, amount: int) -> None:
    with refused(booked, "movement"):
        await owner.execute(
            booked,
            "INSERT INTO ledger_transfers (id, kind, debit_account, credit_account, amount, "
            f"booked_at, asset) VALUES (9, 1, 1, 2, {amount}, 1, 'USD')",
        )


async def test_a_transfer_onto_the_same_account_is_refused(booked: str) -> None:
    with refused(booked, "movement"):
        await owner.execute(
            booked,
            "INSERT INTO ledger_transfers (id, kind, debit_account, credit_account, amount, "
            "booked_at, asset) VALUES (9, 1, 2, 2, 5, 1, 'USD')",
        )


@pytest.mark.parametrize("table", FINAL)
async def test_history_is_final_even_for_the_owner(booked: str, table: str) -> None:
    column = COLUMN[table]
    before = await owner.rows(booked, f"SELECT * FROM {table}")
    assert before
    statements = [f"UPDATE {table} SET {column} = {column} + 1", f"DELETE FROM {table}"]
    if booked.startswith("postgresql"):
        statements.append(f"TRUNCATE {table}")
    for statement in statements:
        with refused(booked, "history is final"):
            await owner.execute(booked, statement)
    assert await owner.rows(booked, f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("table", FINAL)
async def test_a_row_of_history_cannot_be_replaced_by_another(booked: str, table: str) -> None:
    before = await owner.rows(booked, f"SELECT * FROM {table}")
    if booked.startswith("sqlite"):
        # As the application's connections are: without recursive_triggers REPLACE fires none.
        statement = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
        with refused(booked, "history is final"):
            await owner.execute(booked, "PRAGMA recursive_triggers=1", statement)
    else:
        (key,) = await owner.rows(
            booked, f"SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass "
            "AND contype = 'p'",
        )  # fmt: skip
        with refused(booked, "history is final"):
            await owner.execute(
                booked, f"INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ON CONSTRAINT "
                f"{key[0]} DO UPDATE SET {COLUMN[table]} = 0",
            )  # fmt: skip
    assert await owner.rows(booked, f"SELECT * FROM {table}") == before


async def test_no_partition_is_a_way_around_the_triggers(postgres_url: str) -> None:
    for part in PARTS:
        with refused(postgres_url, "history is final"):
            await owner.execute(postgres_url, f"TRUNCATE {part}")
    # Row triggers on the partitioned table hold for every partition, the last one too.
    for number in (1, 1 << 33):
        row = f"({number}, 1, 1, 2, 5, 1, 'USD')"
        await owner.execute(
            postgres_url,
            "INSERT INTO ledger_transfers (id, kind, debit_account, credit_account, amount, "
            f"booked_at, asset) VALUES {row}",
        )
    for part in ("ledger_transfers_p00", "ledger_transfers_rest"):
        for statement in (f"UPDATE {part} SET amount = 6", f"DELETE FROM {part}"):
            with refused(postgres_url, "history is final"):
                await owner.execute(postgres_url, statement)


@pytest.fixture
async def application(postgres_url: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A connection that has stepped down as the application's connections do."""
    connection = await asyncpg.connect(postgres_url)
    role = await connection.fetchval(APPLICATION_ROLE)
    assert role.startswith("guilder_app_")
    await connection.execute(SET_ROLE)
    assert await connection.fetchval("SELECT current_user") == role
    yield connection
    await connection.close()


@pytest.mark.parametrize("table", [*FINAL, *PARTS])
async def test_the_application_may_not_even_try_to_change_history(
    application: "asyncpg.Connection[Any]", table: str
) -> None:
    column = COLUMN[table if table in COLUMN else "ledger_transfers"]
    for statement in (
        f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}",
        f"DROP TABLE {table}", f"ALTER TABLE {table} DISABLE TRIGGER ALL",
    ):  # fmt: skip
        with pytest.raises(
            asyncpg.InsufficientPrivilegeError, match=r"permission denied|must be owner"
        ):
            await application.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_head SET id_key = id_key",
        "UPDATE ledger_head SET lane = 1",
        "DELETE FROM ledger_head",
        "UPDATE ledger_balances SET asset = 'EUR'",
        "UPDATE ledger_balances SET normal = -1",
        "UPDATE ledger_balances SET account_id = 1",
        "DELETE FROM ledger_balances",
        "UPDATE ledger_accounts SET asset = 'EUR'",
        "DELETE FROM ledger_accounts",
        "UPDATE alembic_version SET version_num = 'x'",
        "DELETE FROM alembic_version",
        "CREATE TABLE mine (id int)",
        "SET session_replication_role = replica",
        "DROP FUNCTION guilder_history_is_final()",
    ],
)
async def test_the_application_may_not_change_facts_or_the_rules_themselves(
    application: "asyncpg.Connection[Any]", statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(statement)


async def test_truth_values_and_ids_mean_the_same_on_both_engines(database_url: str) -> None:
    table = Table("kinds", MetaData(), Column("flag", Flagged), Column("id", Guid))
    engine = migration_engine(database_url)
    number = uuid4()
    rows: list[tuple[bool | None, UUID | None]] = [(True, number), (False, None), (None, None)]
    async with engine.begin() as connection:
        await connection.run_sync(table.create)
        for flag, id_ in rows:
            await connection.execute(insert(table).values(flag=flag, id=id_))
        found = (await connection.execute(select(table))).all()
        mine = (await connection.execute(select(table).where(table.c.id == number))).one()
    await engine.dispose()
    assert [tuple(row) for row in found] == rows
    assert type(found[0].flag) is bool
    assert mine.flag is True
