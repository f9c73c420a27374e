"""What every store promises, shown on both: post, replay, hold, reverse, limit, freeze, forget."""

import asyncio
import json
from uuid import UUID

import pytest

from guilder.core.clock import SECOND_US
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.ledger.commands import SetFlags, SetLimit, lock_head, set_flags, set_limit
from guilder.domains.ledger.engine import batch_chain_hash
from guilder.domains.ledger.rules.state import (
    AccountFlag,
    Conditions,
    HoldState,
    Kind,
    Posting,
    Unit,
)
from guilder.domains.ledger.store import postgres, sqlite
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, capture, hold, pay, reverse
from tests.support.books import problems, read_books

USER = UUID("01999999-0000-7000-8000-000000000001")


def keyed(debit: int, credit: int, amount: int, key: str = "k", said: str = "f") -> Posting:
    return pay(debit, credit, amount, key=key.encode() * 16, fingerprint=said.encode() * 16)


async def assert_sound(branch: Branch) -> None:
    """The auditor who shares no code with the engine finds nothing wrong."""
    assert problems(await read_books(branch.url)) == []


async def test_a_refused_posting_writes_nothing_and_does_not_burn_its_key(branch: Branch) -> None:
    alice, bob = await branch.open(), await branch.open()
    before = await branch.counts()
    assert await branch.said(keyed(alice, bob, 5), keyed(alice, 99, 5, "other")) == [
        "insufficient_funds", "account_not_found",
    ]  # fmt: skip
    assert await branch.counts() == before
    assert await branch.said(pay(branch.settlement, alice, 5), keyed(alice, bob, 5)) == [
        "created", "created",
    ]  # fmt: skip
    await assert_sound(branch)


async def test_the_same_key_with_other_fields_is_a_conflict_and_writes_nothing(
    branch: Branch,
) -> None:
    alice = await branch.open()
    assert await branch.said(keyed(branch.settlement, alice, 5)) == ["created"]
    before = await branch.counts()
    assert await branch.said(keyed(branch.settlement, alice, 6, said="g")) == [
        "idempotency_conflict"
    ]
    assert await branch.counts() == before


async def test_a_posting_is_stored_with_all_that_was_said_about_it(branch: Branch) -> None:
    alice = await branch.open()
    (result,) = await branch.post(
        pay(
            branch.settlement, alice, 5, value_on=20_000, created_by=USER, description="ünï",
            reference="r", metadata='{"a":1}',
        )
    )  # fmt: skip
    (row,) = await branch.rows("SELECT * FROM ledger_transfers")
    assert row[:10] == (1, 1, branch.settlement, alice, 5, NOW, "USD", 20_000, None, None)
    assert (str(row[10]), *row[11:]) == (str(USER), "ünï", "r", '{"a":1}')
    assert (result.number, result.booked_at, result.amount) == (1, NOW, 5)
    assert (result.debit_after, result.credit_after) == (-5, 5)
    assert await branch.rows("SELECT * FROM ledger_entries ORDER BY delta") == [
        (branch.settlement, 1, -5, -5, 1, 20_000), (alice, 1, 5, 5, 1, 20_000),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, postgres.COPY_FROM // 2, postgres.COPY_FROM, 300])
async def test_a_batch_of_any_size_is_one_row_of_the_chain_and_one_of_the_outbox(
    branch: Branch, count: int
) -> None:
    alice, bob = await branch.open(100_000), await branch.open()
    ((chain,),) = await branch.rows("SELECT chain FROM ledger_head")
    postings = [
        pay(alice, bob, n, key=n.to_bytes(16), fingerprint=b"f", created_by=USER)
        if n % 2
        else pay(alice, bob, n)
        for n in range(1, count + 1)
    ]
    said = await branch.said(*postings, pay(bob, alice, 10**9))
    assert said == ["created"] * count + ["insufficient_funds"]
    books = await read_books(branch.url)
    (batch,) = books.batches[1:]
    assert (batch.first_no, batch.last_no) == (2, len(books.transfers))
    rows = [tuple(str(v) if isinstance(v, UUID) else v for v in t) for t in books.transfers[1:]]
    keys = sorted((tuple(k) for k in books.idempotency), key=lambda k: k[2])
    told = batch_chain_hash(chain, rows, keys)  # type: ignore[arg-type] # stored rows
    assert batch.chain == told
    assert (books.head.last_no, books.head.last_batch) == (batch.last_no, 2)
    assert (books.head.chain, books.head.clock_us) == (batch.chain, batch.last_booked_at)
    assert json.loads(books.outbox[-1]) == {
        "batch": 2, "first": batch.first_no, "last": batch.last_no,
    }  # fmt: skip
    assert len(books.outbox) == 2
    assert problems(books) == []


async def test_a_key_is_replayed_from_the_books_long_after(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    (first,) = await branch.post(keyed(alice, bob, 5))
    await branch.said(pay(alice, bob, 50))
    await branch.freeze(alice)
    branch.clock.advance(days=4_000)
    before = await branch.counts()
    (again,) = await branch.post(keyed(alice, bob, 5))
    assert again.status == "replayed"
    first.status = "replayed"
    assert again == first
    assert await branch.counts() == before


async def test_a_units_answer_is_replayed_from_the_books(branch: Branch) -> None:
    alice, bob = await branch.open(10), await branch.open()
    unit = Unit(
        [pay(alice, bob, 5), pay(alice, bob, 50)], key=b"U", fingerprint=b"f", label="run 1"
    )
    (first,) = await branch.store.commit([unit])
    await branch.said(pay(branch.settlement, alice, 1_000))
    before = await branch.counts()
    (again,) = await branch.store.commit([unit])
    assert (again.replayed, again.label, again.results) == (True, "run 1", first.results)
    other = Unit(unit.postings, key=b"U", fingerprint=b"g")
    assert await branch.said(other) == ["idempotency_conflict"] * 2
    assert await branch.counts() == before


async def test_a_unit_that_books_nothing_new_is_answered_alike_alone_and_in_company(
    branch: Branch,
) -> None:
    alice, bob = await branch.open(), await branch.open()
    await branch.said(keyed(branch.settlement, alice, 5))
    unit = Unit(
        [keyed(branch.settlement, alice, 5), pay(bob, alice, 7)], key=b"U", fingerprint=b"f"
    )
    before = await branch.counts()
    assert await branch.said(unit) == ["replayed", "insufficient_funds"]
    kept = {"ledger_idempotency": before["ledger_idempotency"] + 1}
    assert await branch.counts() == before | kept
    assert await branch.said(unit, pay(branch.settlement, bob, 7)) == [
        "replayed", "insufficient_funds", "created",
    ]  # fmt: skip
    assert await branch.said(unit) == ["replayed", "insufficient_funds"]
    other = Unit([pay(bob, alice, 7)], key=b"U", fingerprint=b"g")
    assert await branch.said(other) == ["idempotency_conflict"]
    await assert_sound(branch)


async def test_a_holds_whole_life_over_several_batches(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    (held,) = await branch.post(hold(alice, bob, 60))
    assert (await branch.balance(alice)).available == 40
    assert (await branch.balance(alice)).held == 60
    assert await branch.said(pay(alice, bob, 41)) == ["insufficient_funds"]
    assert await branch.said(capture(held.number, 20)) == ["created"]
    assert await branch.said(capture(held.number, 41)) == ["hold_exceeded"]
    assert await branch.said(about(Kind.CAPTURE_FINAL, held.number, 10)) == ["created"]
    assert await branch.said(capture(held.number)) == ["hold_spent"]
    assert await branch.posted(alice, bob) == [70, 30]
    assert (await branch.balance(alice)).available == 70
    assert await branch.rows("SELECT remaining, state FROM ledger_holds") == [
        (0, HoldState.CAPTURED)
    ]
    await assert_sound(branch)


async def test_a_hold_is_released_or_expires(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    end = NOW + 60 * SECOND_US
    one, other = await branch.post(hold(alice, bob, 60), hold(alice, bob, 40, expires_at=end))
    assert await branch.said(about(Kind.EXPIRY, other.number)) == ["hold_not_found"]
    branch.clock.at_us = end
    assert await branch.said(
        capture(other.number), about(Kind.EXPIRY, other.number), about(Kind.RELEASE, one.number)
    ) == ["hold_expired", "created", "created"]
    assert await branch.rows(
        "SELECT id, remaining, state, expires_at FROM ledger_holds ORDER BY id"
    ) == [
        (one.number, 0, HoldState.RELEASED, None), (other.number, 0, HoldState.EXPIRED, end),
    ]  # fmt: skip
    assert (await branch.balance(alice)).available == 100
    await assert_sound(branch)


async def test_reversals_are_linked_and_add_up_over_several_batches(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    (paid,) = await branch.post(pay(alice, bob, 60))
    assert await branch.said(reverse(paid.number, 20)) == ["created"]
    assert await branch.said(reverse(paid.number, 41)) == ["exceeds_original"]
    (rest,) = await branch.post(reverse(paid.number))
    assert rest.amount == 40
    assert await branch.said(reverse(paid.number), reverse(rest.number)) == [
        "already_reversed", "transfer_not_found",
    ]  # fmt: skip
    assert await branch.rows(
        f"SELECT kind, amount FROM ledger_transfers WHERE ref_id = {paid.number} ORDER BY id"
    ) == [(Kind.REVERSAL, 20), (Kind.REVERSAL, 40)]
    assert await branch.posted(alice, bob) == [100, 0]
    await assert_sound(branch)


async def test_a_reversal_finds_its_accounts_without_being_told(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    (held,) = await branch.post(hold(alice, bob, 60))
    (captured,) = await branch.post(capture(held.number, 50))
    assert await branch.said(reverse(captured.number, 50)) == ["created"]
    assert await branch.posted(alice, bob) == [100, 0]


async def test_what_a_limit_has_used_is_kept_between_batches(branch: Branch) -> None:
    alice, bob = await branch.open(1_000), await branch.open()
    await branch.do(set_limit, SetLimit(alice, "day", max_amount=100))
    await branch.do(set_limit, SetLimit(alice, "month", max_count=4))
    assert await branch.said(pay(alice, bob, 60), pay(alice, bob, 41)) == [
        "created", "limit_exceeded",
    ]  # fmt: skip
    assert await branch.said(pay(alice, bob, 41), hold(alice, bob, 40)) == [
        "limit_exceeded", "created",
    ]  # fmt: skip
    branch.clock.advance(days=1)
    assert await branch.said(*[pay(alice, bob, 10)] * 3) == ["created", "created", "limit_exceeded"]
    assert await branch.rows(
        "SELECT period, used_amount, used_count FROM ledger_limits ORDER BY period"
    ) == [("day", 20, 2), ("month", 120, 4)]
    (refused,) = await branch.post(pay(alice, bob, 1))
    assert refused.extra == {
        "period": "month", "measure": "count", "limit": 4, "used": 4, "remaining": 0,
    }  # fmt: skip


async def test_what_is_set_and_used_of_one_account_leaves_every_other_alone(
    branch: Branch,
) -> None:
    alice, bob = await branch.open(1_000), await branch.open()
    await branch.do(set_limit, SetLimit(bob, "day", max_amount=100))
    tables = (f"* FROM ledger_limits WHERE account_id = {bob}",
              f"floor, ceiling, flags FROM ledger_balances WHERE account_id = {bob}")  # fmt: skip
    before = [await branch.rows(f"SELECT {table}") for table in tables]
    for most in (100, 200):
        await branch.do(set_limit, SetLimit(alice, "day", max_amount=most))
        assert await branch.said(pay(alice, bob, 10)) == ["created"]
    await branch.do(set_limit, SetLimit(alice, "day"))
    await branch.freeze(alice)
    assert [await branch.rows(f"SELECT {table}") for table in tables] == before


async def test_a_condition_is_checked_against_the_stored_version(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    version = (await branch.balance(alice)).version
    posting = pay(alice, bob, 1, conditions=Conditions(version=version))
    assert await branch.said(posting) == ["created"]
    assert await branch.said(posting) == ["version_mismatch"]


async def test_a_dry_run_and_a_failed_group_write_nothing(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    await branch.do(set_limit, SetLimit(alice, "day", max_amount=100))
    (held,) = await branch.post(hold(alice, bob, 10))
    before = await read_books(branch.url)
    postings = [
        keyed(alice, bob, 5), hold(alice, bob, 6), capture(held.number), reverse(1, 1),
    ]  # fmt: skip
    for unit in (
        Unit(postings, dry_run=True),
        Unit(postings, atomic=True, dry_run=True, key=b"U", fingerprint=b"f"),
        Unit([*postings, pay(bob, alice, 10**6)], atomic=True),
    ):
        results = await branch.post(unit)
        assert [r.status for r in results[:4]] == ["created"] * 4 or not unit.dry_run
        assert all(r.number == 0 for r in results)
    assert await read_books(branch.url) == before


async def test_a_dry_run_does_not_hide_its_neighbours_work(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    assert await branch.said(
        Unit([pay(alice, bob, 60)], dry_run=True), pay(alice, bob, 50),
        Unit([pay(alice, bob, 60)], dry_run=True),
    ) == ["created", "created", "insufficient_funds"]  # fmt: skip
    assert await branch.posted(alice, bob) == [50, 50]
    await assert_sound(branch)


async def test_a_batch_without_any_work_leaves_the_head_alone(branch: Branch) -> None:
    before = await branch.rows("SELECT * FROM ledger_head")
    assert await branch.store.commit([]) == []
    (empty,) = await branch.store.commit([Unit([])])
    assert empty.results == []
    assert await branch.rows("SELECT * FROM ledger_head") == before


async def test_a_posting_waits_for_a_freeze_that_is_under_way_and_then_sees_it(
    branch: Branch, sister: Branch
) -> None:
    alice, bob = await branch.open(100), await branch.open()
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def slow_freeze(uow: UnitOfWork, cmd: SetFlags) -> None:
        await set_flags(uow, cmd)
        locked.set()
        await go_on.wait()

    freezing = asyncio.create_task(
        branch.do(slow_freeze, SetFlags(alice, add=int(AccountFlag.FROZEN_DEBITS)))
    )
    await locked.wait()
    posting = asyncio.create_task(sister.said(pay(alice, bob, 5), pay(branch.settlement, bob, 1)))
    await asyncio.sleep(0.1)
    assert not posting.done()
    go_on.set()
    await freezing
    assert await posting == ["account_frozen", "created"]


async def test_batches_of_two_processes_never_mix(branch: Branch, sister: Branch) -> None:
    alice, bob = await branch.open(1_000), await branch.open(1_000)
    for _ in range(5):
        await asyncio.gather(
            *[
                one.said(*[pay(*accounts, 1) for _ in range(10)])
                for one, accounts in ((branch, (alice, bob)), (sister, (bob, alice)))
            ]
        )
    assert await branch.posted(alice, bob) == [1_000, 1_000]
    assert (await branch.counts())["ledger_batches"] == 12
    await assert_sound(branch)


async def test_the_lock_is_held_until_the_end_of_the_transaction(
    branch: Branch, sister: Branch
) -> None:
    alice = await branch.open()
    seen = []

    async def look_twice(uow: UnitOfWork, _cmd: SetFlags) -> None:
        seen.append(await lock_head(uow))
        await asyncio.sleep(0.1)
        seen.append(await lock_head(uow))

    await asyncio.gather(
        branch.do(look_twice, SetFlags(alice)),
        sister.said(pay(branch.settlement, alice, 1)),
    )
    assert seen[0] == seen[1]


async def test_more_names_than_a_statement_takes_are_asked_for_in_parts(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_MANY", 3)
    numbers = [await branch.open() for _ in range(7)]
    postings = [
        keyed(branch.settlement, number, 1, chr(97 + i)) for i, number in enumerate(numbers)
    ]
    assert await branch.said(*postings) == ["created"] * 7
    assert await branch.said(*postings) == ["replayed"] * 7
    await assert_sound(branch)


async def test_a_closed_store_opens_again_or_says_that_it_is_closed(branch: Branch) -> None:
    alice = await branch.open(1)
    await branch.store.close()
    if branch.sqlite:
        with pytest.raises(RuntimeError, match="shutdown"):
            await branch.said(pay(branch.settlement, alice, 1))
        branch.store = Branch(branch.url).store
    assert await branch.said(pay(branch.settlement, alice, 1)) == ["created"]
