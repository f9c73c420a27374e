"""History cannot be changed through the database's front door; through the back it is found."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.core.clock import SystemClock
from guilder.db.engine import Database, is_sqlite
from guilder.db.migrate import migration_engine
from guilder.db.unit_of_work import View
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.verify import verify_ledger
from tests.support.bank import Reply, open_bank, open_store
from tests.support.books import problems, read_through
from tests.support.load import Client, Told
from tests.support.sizes import SEED, of, postgres_in_ci, tell

HISTORY = ("ledger_transfers", "ledger_entries", "ledger_idempotency", "ledger_batches")

ALTERED: dict[str, list[str]] = {
    "ledger_transfers": [
        "UPDATE ledger_transfers SET amount = amount + 1 WHERE id = 20",
        "UPDATE ledger_transfers SET description = 'rent' WHERE id = 20",
        "UPDATE ledger_transfers SET reference = 'rent' WHERE id = 20",
        "UPDATE ledger_transfers SET booked_at = booked_at + 1 WHERE id = 20",
        "UPDATE ledger_transfers SET value_on = 20000 WHERE id = 20",
        "UPDATE ledger_transfers SET kind = 3 WHERE id = 20",
        "UPDATE ledger_transfers SET debit_account = credit_account,"
        " credit_account = debit_account WHERE id = 20",
        "DELETE FROM ledger_transfers WHERE id = 20",
        "DELETE FROM ledger_transfers WHERE id = (SELECT max(id) FROM ledger_transfers)",
        "INSERT INTO ledger_transfers SELECT id + 1, kind, debit_account, credit_account, amount,"
        " booked_at + 1, asset, value_on, ref_id, group_id, created_by, description, reference,"
        " metadata FROM ledger_transfers WHERE id = (SELECT max(id) FROM ledger_transfers)",
    ],
    "ledger_entries": [
        "UPDATE ledger_entries SET delta = delta + 1 WHERE transfer_id = 20",
        "UPDATE ledger_entries SET delta = -delta WHERE transfer_id = 2",
        "UPDATE ledger_entries SET balance_after = balance_after + 1 WHERE transfer_id = 20",
        "UPDATE ledger_entries SET version = version + 1 WHERE transfer_id = 20",
        "UPDATE ledger_entries SET value_on = 20000 WHERE transfer_id = 20",
        "DELETE FROM ledger_entries WHERE transfer_id = 20",
        "INSERT INTO ledger_entries SELECT account_id, 9999, 0, balance_after, version + 1, NULL"
        " FROM ledger_entries WHERE transfer_id = (SELECT max(id) FROM ledger_transfers)",
    ],
    "ledger_balances": [
        "UPDATE ledger_balances SET credits = credits + 1 WHERE account_id = {customer}",
        "UPDATE ledger_balances SET debits = debits + 1, credits = credits + 1"
        " WHERE account_id = {customer}",
        "UPDATE ledger_balances SET debits_pending = debits_pending + 1"
        " WHERE account_id = {customer}",
        "UPDATE ledger_balances SET version = version + 1 WHERE account_id = {customer}",
        "UPDATE ledger_balances SET normal = -1 WHERE account_id = {customer}",
        "UPDATE ledger_balances SET asset = 'EUR' WHERE account_id = {customer}",
        "DELETE FROM ledger_balances WHERE account_id = {customer}",
    ],
    "ledger_holds": [
        "UPDATE ledger_holds SET remaining = remaining + 1",
        "UPDATE ledger_holds SET state = 0, remaining = 5 WHERE state <> 0",
        "DELETE FROM ledger_holds",
        "INSERT INTO ledger_holds VALUES (1, 5, 0, NULL)",
    ],
    "ledger_batches": [
        "UPDATE ledger_batches SET chain = nonce WHERE id = 5",
        "UPDATE ledger_batches SET last_no = last_no + 1 WHERE id = 5",
        "UPDATE ledger_batches SET first_booked_at = first_booked_at - 5 WHERE id = 5",
        "UPDATE ledger_batches SET last_booked_at = last_booked_at + 5 WHERE id = 5",
        "DELETE FROM ledger_batches WHERE id = 5",
        "DELETE FROM ledger_batches WHERE id = (SELECT max(id) FROM ledger_batches)",
    ],
    "ledger_head": [
        "UPDATE ledger_head SET last_no = last_no + 1",
        "UPDATE ledger_head SET last_batch = last_batch - 1",
        "UPDATE ledger_head SET clock_us = clock_us - 1",
        "UPDATE ledger_head SET chain = (SELECT chain FROM ledger_batches WHERE id = 5)",
    ],
    "ledger_idempotency": [
        "UPDATE ledger_idempotency SET transfer_id = 9999 WHERE transfer_id ="
        " (SELECT max(transfer_id) FROM ledger_idempotency)",
        "UPDATE ledger_idempotency SET transfer_id = (SELECT min(transfer_id) FROM"
        " ledger_idempotency) WHERE transfer_id ="
        " (SELECT max(transfer_id) FROM ledger_idempotency)",
        "UPDATE ledger_idempotency SET key = fingerprint WHERE transfer_id ="
        " (SELECT max(transfer_id) FROM ledger_idempotency)",
        "UPDATE ledger_idempotency SET fingerprint = key WHERE transfer_id ="
        " (SELECT max(transfer_id) FROM ledger_idempotency)",
        "DELETE FROM ledger_idempotency WHERE transfer_id ="
        " (SELECT max(transfer_id) FROM ledger_idempotency)",
        "DELETE FROM ledger_idempotency WHERE transfer_id IS NOT NULL",
    ],
    "ledger_accounts": [
        "UPDATE ledger_accounts SET asset = 'EUR' WHERE id = {customer}",
        "UPDATE ledger_accounts SET category = 'asset' WHERE id = {customer}",
        "DELETE FROM ledger_accounts WHERE id = {customer}",
    ],
}
"""By the table that holds the altered row; every one is a lie about money or about history."""


async def some_history(url: str) -> int:
    """Transfers of every kind; gives the number of a customer's account."""
    bank = await open_bank(url)
    poster = Poster(open_store(url, SystemClock()))
    poster.start()
    replies: list[Reply] = []
    caller = Client(bank, poster.submit, replies.append, Told(), lambda: False)
    for number in range(60):
        await caller.operation(SEED, f"t.0.{number}", "anything")
    await poster.stop()
    return bank.customers[0]


@asynccontextmanager
async def as_owner(url: str) -> AsyncIterator[AsyncConnection]:
    """The owner's connection, in a transaction that is rolled back in the end."""
    engine = migration_engine(url)
    async with engine.connect() as connection:
        await connection.begin()
        yield connection
        await connection.rollback()
    await engine.dispose()


async def open_the_back_door(
    url: str, connection: AsyncConnection, tables: Iterable[str] = HISTORY
) -> None:
    for table in tables:
        if is_sqlite(url):
            for verb in ("update", "delete"):
                await connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
        else:
            await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))


@postgres_in_ci
async def test_every_row_altered_by_hand_is_named_by_verify(database_url: str) -> None:
    customer = await some_history(database_url)
    missed: list[str] = []
    total = 0
    for table, statements in ALTERED.items():
        for statement in statements:
            total += 1
            sql = statement.format(customer=customer)
            async with as_owner(database_url) as connection:
                await open_the_back_door(database_url, connection)
                changed = await connection.execute(text(sql))
                assert changed.rowcount > 0, sql
                assert problems(await read_through(connection)) or "accounts" in table, sql
                report = await verify_ledger(View(connection, 0))
            if report.broken is None:
                missed.append(f"{sql}: not found")
    tell("altered rows", missed=of(len(missed), total))
    assert not missed, "\n".join(missed)


async def test_verify_names_the_altered_row_itself(database_url: str) -> None:
    await some_history(database_url)
    altered = {
        ("ledger_entries", "balance_after = 7"): "transfer_id = 20",
        ("ledger_batches", "chain = nonce"): "id = 5",
        ("ledger_balances", "credits = credits + 1"): "account_id = 7",
    }
    for (table, change), where in altered.items():
        async with as_owner(database_url) as connection:
            await open_the_back_door(database_url, connection)
            await connection.execute(text(f"UPDATE {table} SET {change} WHERE {where}"))
            report = await verify_ledger(View(connection, 0))
        assert report.broken is not None
        assert report.broken.table == table
        assert report.broken.key.split("/")[-1] == where.split()[-1]


async def test_history_rewritten_with_its_chain_is_found_by_an_anchor(database_url: str) -> None:
    await some_history(database_url)
    async with as_owner(database_url) as connection:
        await open_the_back_door(database_url, connection)
        report = await verify_ledger(View(connection, 0))
        anchor = (report.batch, report.chain)
        assert (await verify_ledger(View(connection, 0), anchor=anchor)).broken is None
        for sql in (
            "DELETE FROM ledger_batches",
            "DELETE FROM ledger_idempotency",
            "DELETE FROM ledger_entries",
            "DELETE FROM ledger_holds",
            "DELETE FROM ledger_transfers",
            "DELETE FROM outbox WHERE stream = 'ledger'",
            "UPDATE ledger_balances SET debits = 0, credits = 0, debits_pending = 0,"
            " credits_pending = 0, version = 0",
        ):
            await connection.execute(text(sql))
        chain = "zeroblob(32)" if is_sqlite(database_url) else f"'\\x{'00' * 32}'::bytea"
        clean = "UPDATE ledger_head SET last_no = 0, last_batch = 0, clock_us = 0, chain = "
        await connection.exec_driver_sql(clean + chain)
        assert (await verify_ledger(View(connection, 0))).broken is None
        assert (await verify_ledger(View(connection, 0), anchor=anchor)).broken is not None


async def test_history_is_final_for_the_application_and_for_the_owner(database_url: str) -> None:
    await open_bank(database_url)
    columns = {"ledger_idempotency": "fingerprint", "ledger_batches": "nonce"}
    database = Database(database_url)
    for table in HISTORY:
        column = columns.get(table, "value_on")
        for sql in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            async with as_owner(database_url) as connection:
                with pytest.raises(DBAPIError, match="history is final"):
                    await connection.execute(text(sql))
            with pytest.raises(DBAPIError, match=r"history is final|permission denied"):
                async with database.begin() as connection:
                    await connection.execute(text(sql))
    await database.close()
