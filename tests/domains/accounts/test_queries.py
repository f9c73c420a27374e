import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate

import pytest

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import FixedClock
from guilder.core.permissions import Role
from guilder.db.audit import audit_events
from guilder.db.engine import Database
from guilder.db.reader import Reader
from guilder.db.run import Runner
from guilder.domains.accounts import queries
from guilder.domains.accounts.errors import MonthBeforeOpening, MonthInFuture
from guilder.domains.accounts.models import accounts
from guilder.domains.accounts.queries import Statement
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.accounts.rules import Month
from guilder.domains.accounts.services import AccountDirectory, Counterparties
from guilder.domains.ledger.errors import AccountNotFound
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.queries import bank_account
from guilder.domains.ledger.services import PastReader
from tests.support.bank import open_store
from tests.support.builders import a_deposit, a_transfer, an_account, an_owner

MARCH = Month.of(1_772_500_000_000_000)
APRIL = Month.of(MARCH.bounds[1])
MAY = Month.of(APRIL.bounds[1])


class CountingRunner(Runner):
    """Counts the light reads."""

    reads = 0

    async def read[T, **P](
        self,
        query: Callable[Concatenate[Reader, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        self.reads += 1
        return await super().read(query, *args, **kwargs)


@dataclass
class Bank:
    """A bank whose time stands still, so that bookings fall on exact microseconds."""

    runner: CountingRunner
    clock: FixedClock
    poster: Poster
    owner: Actor

    async def open(self, currency: str = "USD") -> AccountRow:
        return await an_account(self.runner, self.owner, currency)

    async def post(self, debit: int, credit: int, amount: int, asset: str = "USD") -> None:
        await a_transfer(self.poster, debit, credit, amount, asset)

    async def deposit(self, account: AccountRow, amount: int) -> None:
        await a_deposit(self.runner, self.poster, account.ledger_number, amount)

    async def settlement(self, asset: str = "USD") -> int:
        number = await self.runner.view(lambda view: bank_account(view, asset, "settlement"))
        assert number is not None
        return number

    async def statement(self, account: AccountRow, month: Month) -> Statement:
        return await self.runner.view(queries.statement, self.owner, account.id, month)


@pytest.fixture
async def bank(database_url: str) -> AsyncIterator[Bank]:
    clock = FixedClock(MARCH.bounds[0])
    database = Database(database_url)
    runner = CountingRunner(database, clock)
    owner = await an_owner(runner)
    poster = Poster(open_store(database_url, clock))
    poster.start()
    yield Bank(runner, clock, poster, owner)
    await poster.stop()
    await database.close()


async def test_statements_divide_time_at_the_microsecond(bank: Bank) -> None:
    account, other = await bank.open(), await bank.open()
    start, end = MARCH.bounds
    bank.clock.at_us = start
    await bank.deposit(account, 1_000)
    bank.clock.at_us = end - 1
    await bank.post(account.ledger_number, other.ledger_number, 300)
    bank.clock.at_us = end
    await bank.post(account.ledger_number, other.ledger_number, 50)
    await bank.post(other.ledger_number, account.ledger_number, 7)
    march, april = [await bank.statement(account, month) for month in (MARCH, APRIL)]
    assert [abs(line.delta) for line in march.lines] == [1_000, 300]
    assert [abs(line.delta) for line in april.lines] == [50, 7]
    assert (march.totals.starting, march.totals.ending) == (0, 700)
    assert (march.totals.credits, march.totals.debits, march.totals.count) == (1_000, 300, 2)
    assert (april.totals.starting, april.totals.ending) == (700, 657)
    assert (april.totals.credits, april.totals.debits, april.totals.count) == (7, 50, 2)


async def test_a_month_without_lines_carries_the_balance_on(bank: Bank) -> None:
    account = await bank.open()
    await bank.deposit(account, 40)
    bank.clock.at_us = MAY.bounds[0]
    april, may = [await bank.statement(account, m) for m in (APRIL, MAY)]
    for statement in (april, may):
        assert (statement.totals.starting, statement.totals.ending) == (40, 40)
        assert (statement.totals.count, statement.lines) == (0, [])


async def test_a_statement_of_a_month_that_cannot_be_is_refused(bank: Bank) -> None:
    account = await bank.open()
    with pytest.raises(MonthInFuture):
        await bank.statement(account, APRIL)
    bank.clock.at_us = MARCH.bounds[1] - 1
    with pytest.raises(MonthInFuture):
        await bank.statement(account, APRIL)
    bank.clock.at_us += 1
    assert (await bank.statement(account, APRIL)).totals.count == 0
    late = await bank.open()
    with pytest.raises(MonthBeforeOpening):
        await bank.statement(late, MARCH)


async def test_a_long_statement_is_cut_but_not_its_sums(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_STATEMENT_LINES", 3)
    account = await bank.open()
    for amount in (1, 2, 3, 4):
        await bank.deposit(account, amount)
    statement = await bank.statement(account, MARCH)
    assert statement.truncated
    assert [abs(line.delta) for line in statement.lines] == [1, 2, 3]
    assert (statement.totals.credits, statement.totals.count) == (10, 4)


async def test_another_owners_account_is_not_there(bank: Bank) -> None:
    account = await bank.open()
    stranger = await an_owner(bank.runner, "stranger@example.test")
    with pytest.raises(AccountNotFound):
        await bank.runner.view(lambda view: queries.get_account(view, stranger, account.id))
    found = await bank.runner.view(lambda view: queries.get_account(view, SYSTEM, account.id))
    assert found.row == account


async def test_the_directory_asks_once_for_all_that_it_does_not_know(bank: Bank) -> None:
    accounts = [await bank.open() for _ in range(3)]
    directory = AccountDirectory(bank.runner)
    names = [str(row.id) for row in accounts] + [accounts[0].account_number]
    before = bank.runner.reads
    found = await directory.resolve(names)
    assert bank.runner.reads == before + 1
    assert found.keys() == set(names)
    assert found[names[3]] == found[names[0]]
    assert [found[name].number for name in names[:3]] == [row.ledger_number for row in accounts]
    assert await directory.resolve(names) == found
    assert bank.runner.reads == before + 1
    fact = directory.known(names[1])
    assert fact is not None
    assert (fact.owner, fact.currency) == (bank.owner.user_id, "USD")


async def test_the_directory_does_not_find_what_is_not_there(bank: Bank) -> None:
    account = await bank.open()
    directory = AccountDirectory(bank.runner)
    wrong = account.account_number[:-1] + str((int(account.account_number[-1]) + 1) % 10)
    before = bank.runner.reads
    assert await directory.resolve([wrong]) == {}
    assert bank.runner.reads == before  # a check digit that does not fit needs no query
    missing = "01999999-0000-7000-8000-000000000001"
    assert await directory.resolve([missing, str(account.id)]) == await directory.resolve(
        [str(account.id)]
    )
    assert directory.known(missing) is None


async def test_the_directory_sees_an_account_that_is_opened_later(bank: Bank) -> None:
    first = await bank.open()
    directory = AccountDirectory(bank.runner)
    await directory.resolve([str(first.id)])
    later = await bank.open()
    assert (await directory.resolve([str(later.id)]))[str(later.id)].number == later.ledger_number


async def test_the_directory_stays_within_its_capacity(bank: Bank) -> None:
    names = [str((await bank.open()).id) for _ in range(5)]
    directory = AccountDirectory(bank.runner, capacity=2)
    assert (await directory.resolve(names)).keys() == set(names)  # more than it can keep
    assert sum(directory.known(name) is not None for name in names) == 2
    assert (await directory.resolve(names)).keys() == set(names)


async def test_the_directory_knows_the_banks_own_accounts(bank: Bank) -> None:
    directory = AccountDirectory(bank.runner)
    with pytest.raises(AccountNotFound):
        await directory.bank("USD", "settlement")
    await bank.open()
    fact = await directory.bank("USD", "settlement")
    assert (fact.number, fact.owner) == (await bank.settlement(), None)
    # Nobody can name it as a payer or a payee.
    assert await directory.resolve([fact.id]) == {}


async def test_counterparties_are_asked_for_once_and_own_names_each_time(bank: Bank) -> None:
    mine, other = await bank.open(), await bank.open()
    stranger = await an_owner(bank.runner, "stranger@example.test")
    await bank.deposit(mine, 1_000)
    await bank.post(mine.ledger_number, other.ledger_number, 300)
    lines = (await bank.statement(mine, MARCH)).lines
    known = Counterparties(bank.runner, capacity=2)
    before = bank.runner.reads
    found = await known.of(bank.owner, lines)
    settlement = found.pop(await bank.settlement())
    assert (settlement.account_number, settlement.bank_code) == (None, "USD.settlement")
    assert found[other.ledger_number].account_number == other.account_number
    assert bank.runner.reads == before + 2
    async with bank.runner.database.begin() as connection:
        await connection.execute(accounts.update().values(name="Holidays"))
    assert (await known.of(bank.owner, lines))[other.ledger_number].name == "Holidays"
    assert bank.runner.reads == before + 3
    seen = (await known.of(stranger, lines))[other.ledger_number]
    assert (seen.name, bank.runner.reads) == ("Checking account", before + 3)
    assert len(known._known) == 2


async def test_the_other_sides_are_told_though_room_is_made_meanwhile(bank: Bank) -> None:
    account = await bank.open()
    await bank.deposit(account, 10)
    first = (await bank.statement(account, MARCH)).lines
    other = await bank.open()
    await bank.post(account.ledger_number, other.ledger_number, 3)
    both = (await bank.statement(account, MARCH)).lines
    settled = await bank.settlement()
    known = Counterparties(bank.runner, capacity=1)
    await known.of(bank.owner, first)
    known._capacity = 0
    found, _ = await asyncio.gather(known.of(bank.owner, both), known.of(SYSTEM, first))
    assert found.keys() == {settled, other.ledger_number}


async def test_a_read_of_the_past_is_told_of_once(bank: Bank) -> None:
    """Though it is asked for twice, when its instant has to be closed first."""
    account = await bank.open()
    await bank.deposit(account, 10)
    at_us = bank.clock.now_us() + 1
    bank.clock.advance(seconds=1)
    admin = Actor(account.id, Role.ADMIN)
    past = PastReader(bank.runner, bank.poster)
    told = audit_events.select().where(audit_events.c.action == "account.read")
    for times in (1, 2):
        _, found = await past.read(at_us, queries.get_balance_at, admin, account.id, at_us)
        assert found == 10
        rows = await bank.runner.view(lambda view: view.all(told))
        assert [row.phase for row in rows] == ["attempted", "succeeded"] * times
