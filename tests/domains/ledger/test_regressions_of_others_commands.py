"""Bugs that other ledgers had, each reproduced as it happened there, on both engines.

In brackets stands the project that had it, with its issue where one is known. Where two requests
met, two processes meet here: two posters with stores of their own on one database.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle

import pytest

from guilder.core.clock import DAY_US
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.ledger import queries
from guilder.domains.ledger.commands import post
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.queries import Totals
from guilder.domains.ledger.rules.state import Conditions, Kind, Posting, Unit
from guilder.domains.ledger.store import base, postgres
from tests.db import owner
from tests.db.house import Note
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, capture, hold, pay, reverse
from tests.support.bank import open_store
from tests.support.books import problems, read_books
from tests.support.waiting import LONG

type Posters = tuple[Poster, Poster]


@pytest.fixture
async def posters(branch: Branch) -> AsyncIterator[Posters]:
    """Two processes that post."""
    one, other = [Poster(open_store(branch.url, branch.clock)) for _ in range(2)]
    for poster in (one, other):
        poster.start()
    yield one, other
    for poster in (one, other):
        await poster.stop()
    assert problems(await read_books(branch.url)) == []


async def at_once(posters: Posters, *asked: Posting | Unit) -> list[str]:
    """Submit everything at the same time, in turn to either process; gives every word sorted."""
    units = [one if isinstance(one, Unit) else Unit([one]) for one in asked]
    outcomes = await asyncio.gather(
        *[poster.submit(unit) for poster, unit in zip(cycle(posters), units, strict=False)]
    )
    return sorted(
        r.status if r.refusal is None else r.refusal.code
        for outcome in outcomes
        for r in outcome.results
    )


def keyed(posting: Posting, key: str, said: str = "f") -> Posting:
    posting.key, posting.fingerprint = key.encode().ljust(16), said.encode().ljust(16)
    return posting


async def test_holds_count_against_the_balance_check(branch: Branch, posters: Posters) -> None:
    """[Blnk #181] Money that was set aside could be spent again."""
    alice, bob = await branch.open(100), await branch.open()
    assert (
        await at_once(posters, *[hold(alice, bob, 60) for _ in range(6)])
        == ["created"] + ["insufficient_funds"] * 5
    )
    assert (
        await at_once(posters, *[pay(alice, bob, 41) for _ in range(4)])
        == ["insufficient_funds"] * 4
    )
    assert (
        await at_once(posters, *[pay(alice, bob, 40), hold(alice, bob, 40)] * 2)
        == ["created"] + ["insufficient_funds"] * 3
    )
    assert (await branch.balance(alice)).available == 0


async def test_a_rejected_hold_is_not_committed(branch: Branch, posters: Posters) -> None:
    """[Blnk #182] A hold refused for want of funds was on record, and could be captured."""
    alice, bob = await branch.open(100), await branch.open()
    before = await read_books(branch.url)
    assert await at_once(
        posters,
        hold(alice, bob, 101),
        keyed(hold(alice, bob, 101), "k"),
        Unit([hold(alice, bob, 60), hold(alice, bob, 60)], atomic=True),
    ) == ["group_failed", *["insufficient_funds"] * 3]
    assert await read_books(branch.url) == before
    assert (
        await branch.said(*[capture(number, 1) for number in range(1, 6)]) == ["hold_not_found"] * 5
    )
    assert (await branch.balance(alice)).available == 100


async def test_double_void(branch: Branch, posters: Posters) -> None:
    """[Blnk #41] A hold could be voided more than once."""
    alice, bob = await branch.open(100), await branch.open()
    (held,) = await branch.post(hold(alice, bob, 60))
    assert (
        await at_once(posters, *[about(Kind.RELEASE, held.number) for _ in range(8)])
        == ["created"] + ["hold_spent"] * 7
    )
    balance = await branch.balance(alice)
    assert (balance.posted, balance.held, balance.available) == (100, 0, 100)


async def test_a_hold_is_not_captured_and_voided(branch: Branch, posters: Posters) -> None:
    """[Blnk #41] Of a capture and a void that race one wins."""
    alice, bob = await branch.open(1_000), await branch.open()
    for _ in range(6):
        (held,) = await branch.post(hold(alice, bob, 60))
        said = await at_once(posters, capture(held.number), about(Kind.RELEASE, held.number))
        assert said == ["created", "hold_spent"]
    balance = await branch.balance(alice)
    assert (balance.held, balance.posted + (await branch.posted(bob))[0]) == (0, 1_000)


async def test_double_refund_under_concurrency(branch: Branch, posters: Posters) -> None:
    """[Blnk #152] Each repetition of a refund moved the money again."""
    alice, bob = await branch.open(100), await branch.open(1_000)
    (paid, other) = await branch.post(pay(alice, bob, 60), pay(alice, bob, 30))
    assert await at_once(posters, *[reverse(paid.number) for _ in range(8)]) == [
        *["already_reversed"] * 7, "created",
    ]  # fmt: skip
    said = await at_once(posters, *[reverse(other.number, 7) for _ in range(8)])
    assert said == ["created"] * 4 + ["exceeds_original"] * 4
    assert await branch.posted(alice, bob) == [98, 1_002]


async def test_atomic_bulk_is_not_compensation(branch: Branch, posters: Posters) -> None:
    """[Blnk] An atomic bulk was booked bit by bit and then booked back."""
    alice, bob, carol = [await branch.open(100) for _ in range(3)]
    bulk = [pay(alice, bob, 10), pay(bob, carol, 5), pay(carol, alice, 10**9)]
    before = await read_books(branch.url)
    done = asyncio.Event()
    seen: set[tuple[int, ...]] = set()

    async def watch() -> None:
        while not done.is_set():
            seen.add(tuple(await branch.posted(alice, bob, carol)))

    watching = asyncio.create_task(watch())
    said = await at_once(posters, *[Unit(list(bulk), atomic=True) for _ in range(12)])
    done.set()
    await watching
    assert said == ["group_failed"] * 24 + ["insufficient_funds"] * 12
    assert seen == {(100, 100, 100)}
    assert await read_books(branch.url) == before  # no transfer, no version, no key, no batch


async def test_acknowledged_transfers_are_not_lost(branch: Branch, posters: Posters) -> None:
    """[Midaz] A transfer was acknowledged before it was stored, and then was not."""
    alice, bob = await branch.open(1_000), await branch.open()
    told: dict[int, int] = {}

    async def client(poster: Poster, name: int) -> None:
        for turn in range(10):
            unit = Unit([keyed(pay(alice, bob, 1 + name), f"{name}/{turn}")])
            (result,) = (await poster.submit(unit)).results
            told[result.number] = result.amount
            # Who was told looks from elsewhere, at once, and finds it.
            row = await branch.ask(queries.transfer, result.number)
            assert row is not None
            assert (row.amount, row.booked_at) == (result.amount, result.booked_at)

    await asyncio.gather(*[client(posters[name % 2], name) for name in range(6)])
    stored = dict(await branch.rows("SELECT id, amount FROM ledger_transfers"))
    assert len(told) == 60
    assert told.items() <= stored.items()


async def test_lost_update(branch: Branch, posters: Posters) -> None:
    """[Midaz] Two writers read one balance, and the later one wrote over the earlier."""
    alice, bob = await branch.open(10_000), await branch.open()

    async def both_doors(uow: UnitOfWork, _cmd: Note) -> None:
        await post(uow, branch.clock, [Unit([pay(alice, bob, 3)])])

    waves = [at_once(posters, *[pay(alice, bob, n) for n in range(1, 31)]) for _ in range(4)]
    waves_and_commands = [*waves, *[branch.do(both_doors, Note("x")) for _ in range(10)]]
    await asyncio.gather(*waves_and_commands)
    moved = 4 * sum(range(1, 31)) + 10 * 3
    assert await branch.posted(alice, bob) == [10_000 - moved, moved]
    assert (await branch.balance(bob)).version == 130


async def test_no_double_apply_on_retry(branch: Branch, posters: Posters) -> None:
    """[Midaz] A retry of a request whose answer was late was booked a second time."""
    alice, bob = await branch.open(1_000), await branch.open()

    def postings() -> list[Posting | Unit]:
        bulk = Unit([pay(alice, bob, 1), pay(alice, bob, 2)], key=b"U" * 16, fingerprint=b"f")
        return [keyed(pay(alice, bob, 7), "a"), keyed(hold(alice, bob, 5), "b"), bulk]

    said = await at_once(posters, *[one for _ in range(8) for one in postings()])
    assert said.count("replayed") == 2 * 7
    assert said.count("created") == 2 + 2 * 8  # a kept answer says created each time
    assert await branch.posted(alice, bob) == [990, 10]
    assert (await branch.balance(alice)).held == 5
    impatient = [asyncio.create_task(at_once(posters, *postings())) for _ in range(5)]
    await asyncio.sleep(0)
    for task in impatient[:3]:
        task.cancel()  # the client hangs up; the batch goes on
    await asyncio.gather(*impatient, return_exceptions=True)
    assert await branch.posted(alice, bob) == [990, 10]


async def test_no_silent_fork_after_a_cache_is_dropped(branch: Branch, posters: Posters) -> None:
    """[Midaz] After an eviction a process went on from an old balance of its own."""
    alice, bob = await branch.open(100), await branch.open()
    one, other = posters
    for turn in range(4):
        # Each process has seen the balance, then the other one moves it.
        await one.submit(Unit([pay(alice, bob, 1)]))
        await other.submit(Unit([pay(alice, bob, 2)]))
        fresh = Poster(open_store(branch.url, branch.clock))
        fresh.start()
        wanted = Conditions(version=(await branch.balance(alice)).version)
        outcome = await fresh.submit(Unit([pay(alice, bob, 3, conditions=wanted)]))
        assert outcome.results[0].debit_after == 100 - 6 * (turn + 1)
        await fresh.stop()
    assert await branch.posted(alice, bob) == [76, 24]
    numbers = await branch.rows("SELECT id FROM ledger_transfers ORDER BY id")
    assert numbers == [(n,) for n in range(1, 14)]


async def test_a_refused_request_does_not_burn_its_key(branch: Branch, posters: Posters) -> None:
    """[Midaz #709] A transfer that was denied could never be sent again under its key."""
    alice, bob = await branch.open(), await branch.open()

    def ask() -> list[Posting | Unit]:
        legs = [pay(alice, bob, 30), pay(alice, bob, 20)]
        return [
            keyed(pay(alice, bob, 50), "k"),
            Unit(legs, atomic=True, key=b"U" * 16, fingerprint=b"f"),
        ]

    refused = ["group_failed", "insufficient_funds", "insufficient_funds"]
    for _ in range(2):
        assert await at_once(posters, *ask()) == refused
    await branch.freeze(alice)
    assert await at_once(posters, *ask()) == ["account_frozen", "account_frozen", "group_failed"]
    await branch.thaw(alice)
    assert await at_once(posters, pay(branch.settlement, alice, 100)) == ["created"]
    assert await at_once(posters, *ask()) == ["created"] * 3
    assert await at_once(posters, *ask()) == ["created", "created", "replayed"]
    assert await branch.posted(alice, bob) == [0, 100]


async def test_per_posting_locks_do_not_deadlock(branch: Branch, posters: Posters) -> None:
    """[Cala] Postings that locked their accounts in their own order waited for each other."""
    ring = [await branch.open(1_000) for _ in range(5)]
    there = [pay(a, b, 1) for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]
    back = [pay(p.credit, p.debit, 1) for p in reversed(there)]

    async def command(uow: UnitOfWork, _cmd: Note) -> None:
        await post(uow, branch.clock, [Unit(list(back), atomic=True)])

    units = [Unit(list(legs), atomic=True) for _ in range(15) for legs in (there, back)]
    async with asyncio.timeout(LONG):
        said, *_ = await asyncio.gather(
            at_once(posters, *units), *[branch.do(command, Note("x")) for _ in range(10)]
        )
    assert said == ["created"] * 150
    assert await branch.posted(*ring) == [1_000] * 5


HOT = {
    "keys": base.KEYS_SQL, "refs": base.REFS_SQL, "accounts": base.ACCOUNTS_SQL,
    "limits": base.LIMITS_SQL,
}  # fmt: skip


@pytest.mark.parametrize("name", HOT)
async def test_a_plan_flip_is_pinned(branch: Branch, name: str) -> None:
    """[Cala #835] New estimates turned a lookup into a scan, and the query was 8 times slower."""
    alice = await branch.open(5)
    await branch.said(*[keyed(pay(branch.settlement, alice, 1), f"{n}") for n in range(40)])
    plans = []
    # With few rows and fresh statistics the planner would choose to read the whole table.
    for statistics in ("SELECT 1", "ANALYZE"):
        await owner.execute(branch.url, statistics)
        if branch.sqlite:
            steps = await branch.rows(f"EXPLAIN QUERY PLAN {HOT[name]} IN (1, 2)")
            plans.append("\n".join(str(step[3]) for step in steps))
            continue
        kind = "bytea" if name == "keys" else "bigint"
        connection = branch.store._connection  # type: ignore[attr-defined] # its pinned session
        await connection.execute(f"PREPARE hot ({kind}[]) AS {HOT[name]} = ANY($1)")
        plan = await connection.fetch("EXPLAIN EXECUTE hot (ARRAY[]::" + kind + "[])")
        await connection.execute("DEALLOCATE hot")
        plans.append("\n".join(row[0] for row in plan))
    for plan in plans:
        assert "Seq Scan" not in plan
        assert "SCAN " not in plan
        assert "Index" in plan or "SEARCH" in plan
    assert postgres.PINNED["plan_cache_mode"] == "force_generic_plan"


async def test_usd_does_not_pay_eur_one_to_one(branch: Branch, posters: Posters) -> None:
    """[small banking services] A hundred dollars arrived as a hundred euros."""
    dollars, euros = await branch.open(100), await branch.open(100, asset="EUR")
    assert (
        await at_once(
            posters,
            *[pay(dollars, euros, 50, asset=asset) for asset in ("USD", "EUR", "GBP")],
            hold(dollars, euros, 50),
        )
        == ["currency_mismatch"] * 4
    )
    assert await branch.posted(dollars, euros) == [100, 100]
    # An exchange is a transfer in either currency, each with its own amount, both or none.
    usd, eur = (await branch.bank("USD"))["exchange"], (await branch.bank("EUR"))["exchange"]
    legs = [pay(dollars, usd, 50), pay(eur, euros, 46, asset="EUR")]
    assert await at_once(posters, Unit(legs, atomic=True)) == ["created", "created"]
    assert await branch.posted(dollars, usd, euros, eur) == [50, 50, 146, -46]


async def test_statement_debits_are_not_zero(branch: Branch) -> None:
    """[small banking services] The statement's debits were summed over the wrong side."""
    alice, bob = await branch.open(100), await branch.open()
    await branch.said(pay(alice, bob, 30), pay(alice, bob, 12), pay(bob, alice, 5))
    period = (NOW, NOW + DAY_US)
    assert await branch.totals(alice, *period) == Totals(0, 63, 105, 42, 4)
    assert await branch.totals(bob, *period) == Totals(0, 37, 42, 5, 3)
    assert await branch.totals(branch.settlement, *period) == Totals(0, -100, 0, 100, 1)


async def test_opening_balance_is_not_computed_back_from_today(branch: Branch) -> None:
    """[small banking services] What was booked after the period changed where it had begun."""
    alice, bob = await branch.open(1_000), await branch.open()
    branch.clock.advance(days=31)
    first = NOW + 20 * DAY_US
    await branch.said(pay(alice, bob, 300), hold(alice, bob, 50))
    period = (first, NOW + 40 * DAY_US)
    statement = await branch.totals(alice, *period)
    assert statement == Totals(1_000, 700, 0, 300, 1)
    branch.clock.advance(days=31)
    await branch.said(
        pay(alice, bob, 200), pay(bob, alice, 450), pay(alice, bob, 7, value_on=first // DAY_US)
    )
    assert await branch.totals(alice, *period) == statement
    assert await branch.posted(alice) == [943]
