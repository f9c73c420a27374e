"""``verify`` names the first row that does not hold, also when the forger redoes the hash chain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.core.clock import SECOND_US
from guilder.db.migrate import migration_engine
from guilder.db.unit_of_work import View
from guilder.domains.ledger.engine import batch_chain_hash
from guilder.domains.ledger.models import batches, head, idempotency, transfers
from guilder.domains.ledger.repository import proofs
from guilder.domains.ledger.rules.state import Kind, Posting, Unit
from guilder.domains.ledger.verify import BrokenRow, Report, verify_ledger
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, capture, hold, pay, reverse

HISTORY = ("ledger_transfers", "ledger_entries", "ledger_idempotency", "ledger_batches")

type Case = tuple[str, str, str, str]
"""What the forger does, and the table, the key and a word of the problem that verify names."""


@pytest.fixture
async def world(branch: Branch) -> Branch:
    """Twelve transfers in five batches. Alice is 7, Bob 8, Carol 9 and has only euros."""
    alice, bob = await branch.open(1_000), await branch.open(500)
    assert (branch.settlement, alice, bob) == (1, 7, 8)
    assert await branch.open(asset="EUR") == 9
    await branch.said(
        pay(alice, bob, 100, key=b"k" * 16, fingerprint=b"f", value_on=20_000),
        hold(alice, bob, 60),  # 4: captured in parts
        hold(alice, bob, 10),  # 5: stays open
        hold(alice, bob, 20),  # 6: released
        hold(alice, bob, 30, expires_at=NOW + SECOND_US),  # 7: expires
    )
    branch.clock.advance(minutes=1)
    await branch.said(capture(4, 20), capture(4), about(Kind.RELEASE, 6), about(Kind.EXPIRY, 7))
    keyed = Unit([reverse(3, 30), Posting(alice, bob, 10**9, "USD")], key=b"U", fingerprint=b"f")
    await branch.said(keyed)
    return branch


@asynccontextmanager
async def back_door(branch: Branch) -> AsyncIterator[AsyncConnection]:
    """The owner's connection without the triggers; all that is done is undone in the end."""
    engine = migration_engine(branch.url)
    async with engine.connect() as connection:
        await connection.begin()
        for table in HISTORY:
            for verb in ("update", "delete"):
                if branch.sqlite:
                    await connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
            if not branch.sqlite:
                await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        yield connection
        await connection.rollback()
    await engine.dispose()


async def redo_the_chain(
    connection: AsyncConnection, keys_from: int = 1 << 30, keys_until: int = 1 << 30
) -> None:
    """What a careful forger does afterwards, for only an anchor kept elsewhere tells it then.

    Keys are covered in a range of batches, in none as it is.
    """
    chain = bytes(32)
    for batch in (await connection.execute(batches.select().order_by(batches.c.id))).all():
        rows = await connection.execute(
            transfers.select()
            .where(transfers.c.id.between(batch.first_no, batch.last_no))
            .order_by(transfers.c.id)
        )
        keys = await connection.execute(
            idempotency.select()
            .where(idempotency.c.transfer_id.between(batch.first_no, batch.last_no))
            .order_by(idempotency.c.transfer_id)
        )
        covered = keys_from <= batch.id < keys_until
        chain = batch_chain_hash(
            chain,
            [tuple(row) for row in rows],
            [tuple(row) for row in keys] if covered else None,
        )
        await connection.execute(
            batches.update().where(batches.c.id == batch.id).values(chain=chain)
        )
    await connection.execute(head.update().values(chain=chain))


async def found(branch: Branch, sql: str, *, forged: bool = False) -> BrokenRow | None:
    async with back_door(branch) as connection:
        for statement in sql.split(";"):
            changed = await connection.execute(text(statement))
            assert changed.rowcount > 0, statement
        if forged:
            await redo_the_chain(connection)
        return (await verify_ledger(View(connection, 0))).broken


async def missed(branch: Branch, cases: list[Case], *, forged: bool = False) -> list[object]:
    """The cases in which another row or another problem was named, or none."""
    wrong: list[object] = []
    for sql, table, key, word in cases:
        broken = await found(branch, sql, forged=forged)
        fits = broken is not None and (broken.table, broken.key) == (table, key)
        if not (fits and broken is not None and word in broken.problem):
            wrong.append((sql, broken))
    return wrong


async def test_sound_books_are_reported_as_they_are(world: Branch) -> None:
    seen: list[tuple[str, int]] = []
    async with world.database.view() as connection:
        report = await verify_ledger(
            View(connection, 0), progress=lambda name, count: seen.append((name, count))
        )
    ((last, chain),) = await world.rows("SELECT last_batch, chain FROM ledger_head")
    assert report == Report(last, bytes(chain).hex(), 12, 24, 9, {"USD": 0, "EUR": 0}, keys_from=1)
    assert seen == [("transfers", n) for n in (1, 2, 7, 11, 12)]


async def test_books_are_sound_when_what_was_told_of_them_has_been_pruned(world: Branch) -> None:
    told = "SELECT min(id) FROM outbox WHERE type = 'ledger.batch_posted'"
    assert await found(world, f"DELETE FROM outbox WHERE id = ({told})") is None


async def test_empty_books_are_sound(branch: Branch) -> None:
    report = await branch.ask(verify_ledger)
    assert (report.broken, report.batch, report.transfers, report.chain) == (None, 0, 0, "00" * 32)


async def test_books_are_read_to_the_end_page_by_page(
    world: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await world.ask(verify_ledger)
    seen: list[tuple[str, int]] = []
    for page in (1, 3, 24):
        monkeypatch.setattr(proofs, "ROWS_PER_PAGE", page)
        assert await world.ask(verify_ledger, progress=lambda n, c: seen.append((n, c))) == whole
        entries = "UPDATE ledger_entries SET version = 9 WHERE transfer_id = 12 AND account_id = 8"
        broken = await found(world, entries)
        assert broken is not None
        assert broken.key == "8/12"
    assert {count for name, count in seen if name == "entries"} >= {1, 2, 3, 24}


async def test_batches_and_their_chain(world: Branch) -> None:
    assert not await missed(world, [
        ("DELETE FROM ledger_batches WHERE id = 1", "ledger_batches", "2", "missing"),
        ("DELETE FROM ledger_batches WHERE id = 5", "ledger_head", "0", "does not fit"),
        ("UPDATE ledger_batches SET first_no = 4 WHERE id = 3", "ledger_batches", "3", "skip"),
        ("UPDATE ledger_batches SET last_no = 13 WHERE id = 5", "ledger_transfers", "13", "miss"),
        ("UPDATE ledger_batches SET chain = nonce WHERE id = 4", "ledger_batches", "4", "hash"),
        ("DELETE FROM ledger_transfers WHERE id = 4", "ledger_transfers", "4", "missing"),
        ("DELETE FROM ledger_transfers WHERE id = 1", "ledger_transfers", "1", "missing"),
        ("UPDATE ledger_transfers SET description = 'x' WHERE id = 9", "ledger_batches", "4", "h"),
        ("UPDATE ledger_transfers SET metadata = '{}' WHERE id = 9", "ledger_batches", "4", "h"),
        ("UPDATE ledger_transfers SET created_by = '00000000-0000-7000-8000-000000000000' "
         "WHERE id = 9", "ledger_batches", "4", "hash"),
        ("UPDATE ledger_head SET clock_us = clock_us + 1", "ledger_head", "0", "clock"),
        ("UPDATE ledger_head SET last_no = 11", "ledger_head", "0", "does not fit"),
        ("UPDATE ledger_head SET last_batch = 4", "ledger_head", "0", "does not fit"),
        ("DELETE FROM ledger_head", "ledger_head", "0", "missing"),
    ])  # fmt: skip


async def test_transfers_whose_forger_redid_the_chain(world: Branch) -> None:
    behind = (
        "INSERT INTO ledger_transfers (id, kind, debit_account, credit_account, amount, booked_at,"
        " asset) SELECT 13, 1, 1, 7, 5, 0, 'USD'"
    )
    assert not await missed(world, [
        (behind, "ledger_transfers", "13", "no batch"),
        ("UPDATE ledger_transfers SET booked_at = 1 WHERE id = 5", "ledger_transfers", "5", "ord"),
        ("UPDATE ledger_transfers SET asset = 'EUR' WHERE id = 5", "ledger_transfers", "5", "ano"),
        ("UPDATE ledger_transfers SET amount = 101 WHERE id = 3", "ledger_balances", "7", "debits"),
        ("UPDATE ledger_transfers SET ref_id = 3 WHERE id = 8", "ledger_transfers", "8", "not th"),
        ("UPDATE ledger_transfers SET ref_id = 6 WHERE id = 9", "ledger_transfers", "9", "fit"),
        ("UPDATE ledger_transfers SET amount = 61 WHERE id = 8", "ledger_transfers", "8", "fit"),
        ("UPDATE ledger_transfers SET debit_account = 1 WHERE id = 8", "ledger_transfers", "8",
         "does not fit the hold"),
        ("UPDATE ledger_transfers SET kind = 5 WHERE id = 8", "ledger_transfers", "9", "fit"),
        ("UPDATE ledger_transfers SET amount = 101 WHERE id = 12", "ledger_transfers", "12", "mor"),
        ("UPDATE ledger_transfers SET ref_id = 4 WHERE id = 12", "ledger_transfers", "12", "more"),
        ("UPDATE ledger_transfers SET kind = 1 WHERE id = 4", "ledger_transfers", "8", "not there"),
    ], forged=True)  # fmt: skip


async def test_balances(world: Branch) -> None:
    change = "UPDATE ledger_balances SET {} WHERE account_id = 7"
    assert not await missed(world, [
        *[(change.format(f"{name} = {name} + 1"), "ledger_balances", "7", f"{name} is not")
          for name in ("debits", "credits", "debits_pending", "credits_pending", "version")],
        (change.format("asset = 'EUR'"), "ledger_balances", "7", "not its account's asset"),
        (change.format("normal = -1"), "ledger_balances", "7", "normal side"),
        ("DELETE FROM ledger_balances WHERE account_id = 7", "ledger_balances", "7", "missing"),
        (change.format("asset = 'EUR'") + "; UPDATE ledger_accounts SET asset = 'EUR' WHERE id = 7",
         "ledger_balances", "7", "transfers of another asset"),
        ("UPDATE ledger_accounts SET category = 'asset' WHERE id = 8", "ledger_balances", "8",
         "normal side"),
        ("DELETE FROM ledger_balances WHERE account_id = 9", "ledger_accounts", "9", "balance"),
    ])  # fmt: skip


async def test_an_account_without_facts_is_named(world: Branch) -> None:
    for number in (7, 9):
        broken = await found(world, f"DELETE FROM ledger_accounts WHERE id = {number}")
        assert broken == BrokenRow("ledger_balances", str(number), "not its account's asset")


async def test_holds_and_entries_and_keys(world: Branch) -> None:
    entry = "UPDATE ledger_entries SET {} WHERE account_id = 7 AND transfer_id = 3"
    assert not await missed(world, [
        ("UPDATE ledger_holds SET remaining = 9 WHERE id = 5", "ledger_holds", "5", "not what"),
        ("UPDATE ledger_holds SET state = 2 WHERE id = 4", "ledger_holds", "4", "not what"),
        ("DELETE FROM ledger_holds WHERE id = 5", "ledger_holds", "5", "missing"),
        ("INSERT INTO ledger_holds (id, remaining, state) VALUES (3, 0, 0)", "ledger_holds", "3",
         "not what"),
        (entry.format("delta = -99"), "ledger_entries", "7/3", "amount"),
        (entry.format("delta = 100"), "ledger_entries", "7/3", "amount"),
        (entry.format("balance_after = 901"), "ledger_entries", "7/3", "balance after"),
        (entry.format("version = 3"), "ledger_entries", "7/3", "version"),
        (entry.format("value_on = NULL"), "ledger_entries", "7/3", "value date"),
        (entry.format("account_id = 9"), "ledger_entries", "7/4", "balance after"),
        ("UPDATE ledger_entries SET account_id = 2 WHERE account_id = 1 AND transfer_id = 2",
         "ledger_entries", "2/2", "between other accounts"),
        ("INSERT INTO ledger_entries VALUES (9, 99, 0, 0, 1, NULL)", "ledger_entries", "9/99",
         "its transfer is missing"),
        ("DELETE FROM ledger_entries WHERE account_id = 8 AND transfer_id = 12", "ledger_entries",
         "23", "not two entries"),
        ("UPDATE ledger_idempotency SET transfer_id = 77 WHERE transfer_id = 3",
         "ledger_idempotency", "77", "its transfer is missing"),
        ("INSERT INTO ledger_idempotency SELECT fingerprint, key, transfer_id, answer"
         " FROM ledger_idempotency WHERE transfer_id = 3",
         "ledger_idempotency", "3", "two keys name one transfer"),
    ])  # fmt: skip


async def test_a_transfers_key_that_is_gone_or_changed_is_named_by_its_batch(
    world: Branch,
) -> None:
    ((batch,),) = await world.rows(
        "SELECT id FROM ledger_batches WHERE 3 BETWEEN first_no AND last_no"
    )
    named = ("ledger_batches", str(batch), "hash does not fit")
    assert not await missed(world, [
        ("DELETE FROM ledger_idempotency WHERE transfer_id = 3", *named),
        ("UPDATE ledger_idempotency SET key = fingerprint WHERE transfer_id = 3", *named),
        ("UPDATE ledger_idempotency SET fingerprint = key WHERE transfer_id = 3", *named),
        ("UPDATE ledger_idempotency SET transfer_id = NULL WHERE transfer_id = 3", *named),
        ("UPDATE ledger_idempotency SET transfer_id = 12 WHERE transfer_id = 3", *named),
        ("UPDATE ledger_idempotency SET answer = key WHERE transfer_id = 3", *named),
    ])  # fmt: skip


async def test_batches_from_before_their_keys_counted_hold_and_none_may_follow(
    world: Branch,
) -> None:
    async with back_door(world) as connection:
        await redo_the_chain(connection)
        old = await verify_ledger(View(connection, 0))
        await redo_the_chain(connection, keys_from=4)
        mixed = await verify_ledger(View(connection, 0))
        await redo_the_chain(connection, keys_from=1, keys_until=4)
        back = await verify_ledger(View(connection, 0))
    assert (old.broken, old.keys_from) == (None, None)
    assert (mixed.broken, mixed.keys_from) == (None, 4)
    assert back.broken is not None
    assert (back.broken.table, back.broken.key) == ("ledger_batches", "4")


async def test_a_hold_that_moves_a_balance_is_named(world: Branch) -> None:
    sql = "UPDATE ledger_entries SET delta = -60 WHERE account_id = 7 AND transfer_id = 4"
    broken = await found(world, sql)
    assert broken == BrokenRow("ledger_entries", "7/4", "not the transfer's amount")


async def test_an_anchor_kept_elsewhere_tells_of_a_redone_chain(world: Branch) -> None:
    earlier = await world.ask(verify_ledger)
    anchor = (earlier.batch, earlier.chain.upper())
    await world.said(pay(7, 8, 1))
    assert (await world.ask(verify_ledger, anchor=anchor)).broken is None
    async with back_door(world) as connection:
        await connection.execute(
            text("UPDATE ledger_transfers SET description = 'another' WHERE id = 3")
        )
        await redo_the_chain(connection)
        view = View(connection, 0)
        assert (await verify_ledger(view)).broken is None  # the chain alone does not tell it
        broken = (await verify_ledger(view, anchor=anchor)).broken
    assert broken == BrokenRow(
        "ledger_batches", str(earlier.batch), "history differs from the anchor"
    )


async def test_an_anchor_beyond_the_last_batch_tells_of_history_that_was_cut_off(
    world: Branch,
) -> None:
    report = await world.ask(verify_ledger, anchor=(99, "00"))
    assert report.broken == BrokenRow("ledger_batches", "99", "it is missing")
