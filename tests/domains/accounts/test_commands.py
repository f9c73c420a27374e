from collections.abc import AsyncIterator

import pytest

from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock
from guilder.core.errors import Forbidden
from guilder.core.money import MAX_AMOUNT
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.accounts import queries
from guilder.domains.accounts.errors import CurrencyNotOffered
from guilder.domains.accounts.rules import is_account_number
from guilder.domains.ledger.commands import CHART, SetBankClock, set_bank_clock
from guilder.domains.ledger.queries import account_facts, bank_account
from tests.support.books import read_books
from tests.support.builders import an_account, an_owner
from tests.support.constants import NOW


@pytest.fixture
async def runner(database_url: str) -> AsyncIterator[Runner]:
    database = Database(database_url)
    yield Runner(database, FixedClock(NOW))
    await database.close()


async def test_a_currency_that_the_product_has_not_is_refused(runner: Runner) -> None:
    owner = await an_owner(runner)
    with pytest.raises(CurrencyNotOffered):
        await an_account(runner, owner, "XXX")
    assert await runner.view(lambda view: queries.numbers_of(view, owner)) == []


async def test_an_account_without_an_owner_is_refused(runner: Runner) -> None:
    with pytest.raises(Forbidden):
        await an_account(runner, SYSTEM)
    assert await runner.view(lambda view: bank_account(view, "USD", "settlement")) is None


async def test_an_account_stands_on_a_ledger_account_of_its_own(runner: Runner) -> None:
    owner = await an_owner(runner)
    row = await an_account(runner, owner, "JPY", "savings", name="Holidays")
    facts = await runner.view(lambda view: account_facts(view, [row.ledger_number]))
    ledger = facts[row.ledger_number]
    assert (ledger.public_id, ledger.asset, ledger.category) == (row.id, "JPY", "liability")
    assert ledger.name != "Holidays"  # the owner's word stays out of books that others read
    assert (row.owner_user_id, row.product_code, row.name) == (owner.user_id, "savings", "Holidays")
    assert is_account_number(row.account_number)
    books = await read_books(runner.database.url)
    [balance] = [b for b in books.balances if b.account_id == row.ledger_number]
    assert (balance.floor, balance.ceiling, balance.flags, balance.normal) == (
        0, MAX_AMOUNT, 0, 1,
    )  # fmt: skip


async def test_the_banks_own_accounts_are_opened_once_for_each_currency(runner: Runner) -> None:
    owner = await an_owner(runner)
    for currency in ("USD", "USD", "EUR"):
        await an_account(runner, owner, currency)
    books = await read_books(runner.database.url)
    assert len(books.balances) == 3 + 2 * len(CHART)


async def test_an_account_is_opened_at_the_banks_time(runner: Runner) -> None:
    past = NOW - 90 * 86_400_000_000
    await runner.run(set_bank_clock, SetBankClock(past), SYSTEM)
    row = await an_account(runner, await an_owner(runner))
    assert row.created_at == past
