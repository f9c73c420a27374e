"""A batch costs at most twelve statements, whatever its size and whatever it needs.

So does a group of openings, the one that tells of their attempts included.
"""

import asyncio
import random
import re
from collections.abc import Callable

import pytest

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import SystemClock
from guilder.db.engine import Database
from guilder.db.idempotency import Answer, Key
from guilder.db.run import Runner
from guilder.domains.accounts.commands import OpenAccount, open_account
from guilder.domains.ledger.commands import SetLimit, set_limit
from guilder.domains.ledger.rules.state import Kind, Posting, Unit, UnitResult
from tests.support.bank import ASSET, Bank, key_of, named, open_bank
from tests.support.builders import an_account, an_owner
from tests.support.fault_proxy import proxied
from tests.support.sizes import tell
from tests.support.statements import statements
from tests.support.taps import Tap, TappedPostgresStore, step_of

BUDGET = 12
SAID = Answer(201, b"")
SIZES = [1, 30, 1_000]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """On SQLite a statement is a function call; the budget is for round trips."""
    return postgres_url


class Counter(Tap):
    """Writes down every statement of a batch."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def before(self, sql: str) -> str:
        self.steps.append(step_of(sql))
        return sql


class Till:
    """A store that counts, and what an earlier batch left to refer to."""

    def __init__(self, bank: Bank, url: str) -> None:
        self.bank = bank
        self.counter = Counter()
        self.store = TappedPostgresStore(url, SystemClock(), self.counter)
        self.holds: list[int] = []
        self.booked: list[int] = []
        self.old: list[Unit] = []
        self._draw = random.Random(1)

    async def commit(self, units: list[Unit]) -> list[UnitResult]:
        self.counter.steps = []
        results = await self.store.commit(units)
        refused = [r.refusal for u in results for r in u.results if r.refusal is not None]
        assert not refused
        return results

    def plain(self, prefix: str, count: int) -> list[Unit]:
        return [named(f"{prefix}{i}", [self.posting()]) for i in range(count)]

    def posting(self, kind: int = Kind.TRANSFER) -> Posting:
        debit, credit = self._draw.sample(self.bank.customers, 2)
        return Posting(debit, credit, 2, ASSET, kind)

    async def prepare(self, count: int) -> None:
        """Holds to capture, transfers to reverse and keys to replay; every account is limited."""
        database = Database(self.bank.url)
        runner = Runner(database, SystemClock())
        for number in self.bank.customers:
            await runner.run(set_limit, SetLimit(number, "day", 10**9), SYSTEM)
        await database.close()
        held = await self.commit(
            [named(f"held{i}", [self.posting(Kind.HOLD)]) for i in range(count)]
        )
        self.holds = [unit.results[0].number for unit in held]
        self.old = self.plain("old", count)
        booked = await self.commit(self.old)
        self.booked = [unit.results[0].number for unit in booked]


def plain(till: Till, size: int) -> list[Unit]:
    return till.plain("plain", size)


def everything(till: Till, size: int) -> list[Unit]:
    """Keys new and replayed, holds, captures, reversals, keyed groups, limits: all in one batch."""
    share = -(-size // 6)
    units = till.plain("new", share)
    units += till.old[:share]
    units += [named(f"hold{i}", [till.posting(Kind.HOLD)]) for i in range(share)]
    units += [
        named(f"spend{i}", [Posting(0, 0, 1, "", Kind.CAPTURE, ref=number)])
        for i, number in enumerate(till.holds[:share])
    ]
    units += [
        named(f"back{i}", [Posting(0, 0, 0, "", Kind.REVERSAL, ref=number)])
        for i, number in enumerate(till.booked[:share])
    ]
    units += [
        named(f"group{i}", [till.posting(), till.posting()], atomic=True)
        for i in range(-(-share // 2))
    ]
    return units


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [plain, everything])
async def test_a_batch_keeps_the_budget(
    database_url: str, make: Callable[[Till, int], list[Unit]], size: int
) -> None:
    bank = await open_bank(database_url, customers=60)
    till = Till(bank, database_url)
    if make is everything:
        await till.prepare(size)
    await till.commit(make(till, size))
    steps = till.counter.steps
    await till.store.close()
    tell(f"budget, {make.__name__}", size=size, statements=len(steps), steps=steps)
    assert len(steps) <= BUDGET, f"{len(steps)} statements: {steps}"


@pytest.mark.parametrize("size", SIZES)
async def test_the_wire_agrees_with_the_count(database_url: str, size: int) -> None:
    """What the server answers as ready is one round trip, however the driver came to it."""
    bank = await open_bank(database_url, customers=60)
    async with proxied(database_url) as (proxy, url):
        till = Till(bank, url)
        await till.commit(till.plain("first", size))  # prepares the statements
        before = proxy.round_trips
        await till.commit(till.plain("second", size))
        trips = proxy.round_trips - before
        await till.store.close()
    tell("round trips", size=size, trips=trips, statements=len(till.counter.steps))
    assert trips == len(till.counter.steps)


GROUP_BUDGET = 13
BEHIND_THE_HEAD = ["idempotency_keys", "audit_events"]
"""What is written while postings wait."""


@pytest.mark.parametrize("many", [1, 2, 16])
async def test_a_group_of_openings_keeps_the_budget(database_url: str, many: int) -> None:
    database = Database(database_url)
    runner = Runner(database, SystemClock())
    owners = [await an_owner(runner, f"u{n}@example.test") for n in range(many)]
    await an_account(runner, owners[0])

    async def opening(one: Actor) -> object:
        command, key = OpenAccount("checking", ASSET), key_of(str(one.user_id))
        return await runner.run_once(open_account, command, one, Key(key, key), lambda _: SAID)

    with statements(database) as said:
        await asyncio.gather(*[opening(one) for one in owners])
    await database.close()
    steps = [step_of(sql) for sql, _ in said]
    tell("budget of a group", size=many, statements=len(steps), steps=steps)
    assert len(steps) <= GROUP_BUDGET, f"{len(steps)} statements: {steps}"
    locked = next(n for n, (sql, _) in enumerate(said) if sql.startswith("UPDATE ledger_head"))
    after = [re.findall(r"INSERT INTO (\w+)", sql) for sql, _ in said[locked + 1 :]]
    assert [table for tables in after for table in tables] == BEHIND_THE_HEAD
    assert len(after) == len(BEHIND_THE_HEAD)
