"""Accounts, bounds, freezes, limits, closing, the bank's clock; and posting with other rows."""

import asyncio

import pytest
from sqlalchemy import text

from guilder.core.clock import DAY_US, SECOND_US
from guilder.core.errors import Invalid, Unavailable
from guilder.core.money import UnknownCurrency
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.ledger import queries
from guilder.domains.ledger.commands import (
    CHART,
    Category,
    CloseLedgerAccount,
    EnsureBankAccounts,
    Opened,
    OpenLedgerAccount,
    SetBankClock,
    SetBounds,
    SetFlags,
    SetLimit,
    close_ledger_account,
    ensure_bank_accounts,
    open_ledger_account,
    post,
    set_bank_clock,
    set_bounds,
    set_flags,
    set_limit,
)
from guilder.domains.ledger.errors import AccountNotFound, BalanceNotZero, ClockBackwards
from guilder.domains.ledger.repository import books
from guilder.domains.ledger.rules.state import AccountFlag, Kind, Unit, UnitResult
from guilder.domains.ledger.store.postgres import COPY_FROM
from tests.db import owner
from tests.db.house import Note, Noted, write_note
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, hold, pay
from tests.support.books import problems, read_books


async def test_an_account_that_does_not_exist_is_not_found(branch: Branch) -> None:
    for attempt in (
        branch.do(set_flags, SetFlags(99, add=1)),
        branch.do(set_bounds, SetBounds(99, 0, None)),
        branch.do(set_limit, SetLimit(99, "day", 1)),
        branch.do(close_ledger_account, CloseLedgerAccount(99)),
    ):
        with pytest.raises(AccountNotFound):
            await attempt


async def test_an_account_of_an_unknown_currency_is_not_opened(branch: Branch) -> None:
    with pytest.raises(UnknownCurrency):
        await branch.open(asset="XXX")
    assert await branch.rows("SELECT 1 FROM ledger_accounts WHERE asset = 'XXX'") == []


@pytest.mark.parametrize(
    ("category", "normal"),
    [
        (Category.ASSET, -1), (Category.EXPENSE, -1), (Category.LIABILITY, 1),
        (Category.EQUITY, 1), (Category.INCOME, 1),
    ],
)  # fmt: skip
async def test_a_category_has_its_normal_side(
    branch: Branch, category: Category, normal: int
) -> None:
    number = await branch.open(category=category, floor=None)
    assert await branch.said(pay(branch.settlement, number, 5)) == ["created"]
    assert await branch.posted(number) == [5 * normal]


async def test_an_opened_account_has_its_facts_and_nothing_on_it(branch: Branch) -> None:
    command = OpenLedgerAccount("KWD", Category.LIABILITY, "Ünï", NOW, floor=-50, ceiling=900)
    opened = await branch.do(open_ledger_account, command)
    facts = await branch.ask(queries.account_facts, [opened.number, 10_000])
    assert set(facts) == {opened.number}
    row = facts[opened.number]
    assert (row.public_id, row.code, row.asset, row.category) == (
        opened.public_id, None, "KWD", "liability",
    )  # fmt: skip
    assert (row.name, row.opened_at) == ("Ünï", NOW)
    balance = await branch.balance(opened.number)
    assert (balance.posted, balance.held, balance.available, balance.version) == (0, 0, 0, 0)
    assert (balance.flags, balance.asset, balance.floor) == (0, "KWD", -50)


async def test_the_banks_own_accounts_are_opened_once_per_currency(
    branch: Branch, sister: Branch
) -> None:
    answers = await asyncio.gather(
        *[
            one.do(ensure_bank_accounts, EnsureBankAccounts("EUR", NOW))
            for one in [branch, sister] * 3
        ]
    )
    assert all(answer == answers[0] for answer in answers)
    assert set(answers[0]) == set(CHART)
    assert len(set(answers[0].values())) == len(CHART)
    dollars = await branch.bank("USD")
    assert not set(dollars.values()) & set(answers[0].values())
    found = await branch.ask(queries.bank_account, "EUR", "fees")
    assert found == answers[0]["fees"]
    assert await branch.ask(queries.bank_account, "GBP", "fees") is None
    kinds = dict(await branch.rows("SELECT code, category FROM ledger_accounts"))
    assert {role: kinds[f"EUR.{role}"] for role in CHART} == {
        "settlement": "asset", "suspense": "liability", "fees": "income",
        "interest": "expense", "exchange": "equity", "equity": "equity",
    }  # fmt: skip


async def test_missing_accounts_of_the_bank_are_added_beside_those_that_exist(
    branch: Branch,
) -> None:
    fees = await branch.do(
        open_ledger_account, OpenLedgerAccount("GBP", Category.INCOME, "x", NOW, "GBP.fees")
    )
    assert (await branch.bank("GBP"))["fees"] == fees.number


async def test_flags_are_added_and_removed_each_by_itself(branch: Branch) -> None:
    number = await branch.open()
    both = AccountFlag.FROZEN_DEBITS | AccountFlag.FROZEN_CREDITS
    await branch.do(set_flags, SetFlags(number, add=int(both)))
    assert (await branch.balance(number)).flags == both
    await branch.do(set_flags, SetFlags(number, remove=int(AccountFlag.FROZEN_DEBITS)))
    await branch.do(set_flags, SetFlags(number, remove=int(AccountFlag.FROZEN_DEBITS)))
    assert (await branch.balance(number)).flags == AccountFlag.FROZEN_CREDITS
    await branch.do(set_flags, SetFlags(number, add=1, remove=int(both)))
    assert (await branch.balance(number)).flags == 0


async def test_bounds_bind_the_next_posting_and_not_the_balance_as_it_stands(
    branch: Branch,
) -> None:
    alice, bob = await branch.open(100), await branch.open()
    await branch.do(set_bounds, SetBounds(alice, 200, 50))
    assert await branch.posted(alice) == [100]
    assert await branch.said(pay(alice, bob, 1), pay(branch.settlement, alice, 1)) == [
        "insufficient_funds", "balance_ceiling",
    ]  # fmt: skip
    await branch.do(set_bounds, SetBounds(alice, -30, None))
    assert await branch.said(pay(alice, bob, 130), pay(alice, bob, 1)) == [
        "created", "insufficient_funds",
    ]  # fmt: skip
    await branch.do(set_bounds, SetBounds(alice, None, None))
    assert await branch.said(pay(alice, bob, 10**12)) == ["created"]


async def test_an_unknown_period_is_refused(branch: Branch) -> None:
    number = await branch.open()
    with pytest.raises(Invalid, match="transaction, day, week or month"):
        await branch.do(set_limit, SetLimit(number, "year", 1))


async def test_a_limit_is_set_changed_and_removed_and_remembers_its_use(branch: Branch) -> None:
    alice, bob = await branch.open(1_000), await branch.open()
    await branch.do(set_limit, SetLimit(alice, "day", max_amount=100))
    await branch.do(set_limit, SetLimit(alice, "week", max_count=9))
    assert (await branch.balance(alice)).flags == AccountFlag.LIMITED
    assert await branch.said(pay(alice, bob, 80)) == ["created"]
    await branch.do(set_limit, SetLimit(alice, "day", max_amount=90))
    assert await branch.said(pay(alice, bob, 11), pay(alice, bob, 10)) == [
        "limit_exceeded", "created",
    ]  # fmt: skip
    day = NOW // DAY_US
    kept = "period, max_amount, max_count, window_start, used_amount, used_count"
    assert await branch.rows(f"SELECT {kept} FROM ledger_limits ORDER BY period") == [
        ("day", 90, None, day, 90, 2), ("week", None, 9, day, 90, 2),
    ]  # fmt: skip
    await branch.do(set_limit, SetLimit(alice, "day"))
    assert (await branch.balance(alice)).flags == AccountFlag.LIMITED
    assert await branch.said(pay(alice, bob, 500)) == ["created"]
    await branch.do(set_limit, SetLimit(alice, "week"))
    await branch.do(set_limit, SetLimit(alice, "week"))
    assert (await branch.balance(alice)).flags == 0


async def test_setting_a_limit_leaves_the_other_state_bits_alone(branch: Branch) -> None:
    alice = await branch.open()
    await branch.freeze(alice)
    await branch.do(set_limit, SetLimit(alice, "day", 1))
    await branch.do(set_limit, SetLimit(alice, "day"))
    assert (await branch.balance(alice)).flags == AccountFlag.FROZEN_DEBITS


async def test_an_account_with_money_on_it_or_held_is_not_closed(branch: Branch) -> None:
    alice, bob = await branch.open(50), await branch.open()
    (held,) = await branch.post(hold(alice, bob, 50))
    for number in (alice, bob):  # bob has nothing but what is on its way
        with pytest.raises(BalanceNotZero):
            await branch.do(close_ledger_account, CloseLedgerAccount(number))
    assert await branch.said(about(Kind.RELEASE, held.number)) == ["created"]
    with pytest.raises(BalanceNotZero):
        await branch.do(close_ledger_account, CloseLedgerAccount(alice))
    assert await branch.said(pay(alice, bob, 50)) == ["created"]
    await branch.do(close_ledger_account, CloseLedgerAccount(alice))
    assert await branch.said(pay(branch.settlement, alice, 1)) == ["account_closed"]


async def test_money_that_is_held_against_an_empty_account_keeps_it_open(branch: Branch) -> None:
    alice, bob = await branch.open(floor=-50), await branch.open()
    assert await branch.said(hold(alice, bob, 50)) == ["created"]
    with pytest.raises(BalanceNotZero):
        await branch.do(close_ledger_account, CloseLedgerAccount(alice))


async def test_the_banks_clock_may_be_set_anywhere_before_the_first_account(
    database_url: str,
) -> None:
    empty = Branch(database_url)
    for to in (NOW - 400 * DAY_US, NOW + DAY_US, NOW - DAY_US):
        assert await empty.do(set_bank_clock, SetBankClock(to)) == to
        empty.clock.advance(seconds=7)
        assert await empty.ask(queries.bank_now) == to + 7 * SECOND_US
    await empty.close()


async def test_the_banks_clock_is_not_set_back_before_an_accounts_opening(branch: Branch) -> None:
    """Nothing is booked, and still every statement would be of before the opening."""
    await branch.open()
    for to in (NOW - 400 * DAY_US, NOW - 1):
        with pytest.raises(ClockBackwards):
            await branch.do(set_bank_clock, SetBankClock(to))
    assert await branch.do(set_bank_clock, SetBankClock(NOW)) == NOW


async def test_an_account_is_opened_before_its_first_booking_however_clocks_differ(
    branch: Branch, sister: Branch
) -> None:
    sister.clock.advance(seconds=-5)
    alice = await branch.open()
    (booked,) = await sister.post(pay(branch.settlement, alice, 1))
    facts = await branch.ask(queries.account_facts, [alice])
    assert facts[alice].opened_at <= booked.booked_at < NOW + SECOND_US


async def test_an_account_that_is_opened_while_the_clock_is_set_back_follows_it(
    postgres_url: str,
) -> None:
    """On SQLite nobody sets the clock while another transaction writes."""
    branch, sister = Branch(postgres_url), Branch(postgres_url)
    tried: list[int] = []

    async def opening(uow: UnitOfWork, _cmd: Note) -> Opened:
        tried.append(await queries.bank_now(uow))
        if len(tried) == 1:
            await sister.do(set_bank_clock, SetBankClock(NOW - DAY_US))
        return await open_ledger_account(
            uow, OpenLedgerAccount("USD", Category.LIABILITY, "x", tried[-1])
        )

    opened = await branch.do(opening, Note("x"))
    facts = await branch.ask(queries.account_facts, [opened.number])
    assert tried == [NOW, NOW - DAY_US]
    assert facts[opened.number].opened_at == NOW - DAY_US
    await branch.close()
    await sister.close()


async def test_the_banks_clock_only_moves_forward_once_something_is_booked(
    branch: Branch,
) -> None:
    await branch.do(set_bank_clock, SetBankClock(NOW + DAY_US))
    alice = await branch.open(5)
    (booked,) = await branch.post(pay(branch.settlement, alice, 1))
    assert booked.booked_at == NOW + DAY_US + 1
    branch.clock.advance(seconds=10)
    for to in (NOW + DAY_US, NOW + DAY_US + 10 * SECOND_US - 1):
        with pytest.raises(ClockBackwards):
            await branch.do(set_bank_clock, SetBankClock(to))
    later = NOW + 3 * DAY_US
    await branch.do(set_bank_clock, SetBankClock(later))
    (booked,) = await branch.post(pay(branch.settlement, alice, 1))
    assert booked.booked_at == later


async def test_the_banks_clock_does_not_go_back_behind_the_last_booking(branch: Branch) -> None:
    alice = await branch.open(5)
    branch.clock.advance(seconds=-10)  # the machine's own clock went back
    with pytest.raises(ClockBackwards):
        await branch.do(set_bank_clock, SetBankClock(NOW - 1))
    (booked,) = await branch.post(pay(branch.settlement, alice, 1))
    assert booked.booked_at == NOW + 1


async def post_and_note(uow: UnitOfWork, branch: Branch, *units: Unit) -> list[UnitResult]:
    await uow.record(Noted("beside the books"))
    return await post(uow, branch.clock, list(units))


async def test_a_posting_and_another_row_are_stored_together(branch: Branch) -> None:
    alice = await branch.open(100)

    async def both(uow: UnitOfWork, _cmd: Note) -> list[UnitResult]:
        return await post_and_note(uow, branch, Unit([pay(branch.settlement, alice, 5)] * 40))

    (outcome,) = await branch.do(both, Note("x"))
    assert {result.status for result in outcome.results} == {"created"}
    assert await branch.posted(alice) == [300]
    assert (await branch.rows("SELECT type FROM outbox ORDER BY id"))[-2:] == [
        ("test.noted",), ("ledger.batch_posted",),
    ]  # fmt: skip
    assert problems(await read_books(branch.url)) == []


@pytest.mark.parametrize("crash", [False, True])
async def test_neither_is_stored_when_the_command_does_not_end_well(
    branch: Branch, crash: bool
) -> None:
    alice, bob = await branch.open(100), await branch.open()
    before = await read_books(branch.url)

    async def both(uow: UnitOfWork, _cmd: Note) -> None:
        unit = Unit([pay(alice, bob, 5), pay(alice, bob, 10**6)])
        (outcome,) = await post_and_note(uow, branch, unit)
        if crash:
            raise ZeroDivisionError
        for result in outcome.results:
            result.raise_refused()

    with pytest.raises(ZeroDivisionError if crash else Exception) as refused:
        await branch.do(both, Note("x"))
    assert crash or getattr(refused.value, "code", "") == "insufficient_funds"
    assert await read_books(branch.url) == before
    assert await branch.rows("SELECT 1 FROM outbox WHERE type = 'test.noted'") == []


async def test_both_doors_at_once_are_ordered_and_lose_nothing(
    branch: Branch, sister: Branch
) -> None:
    alice, bob = await branch.open(1_000), await branch.open(1_000)

    async def both(uow: UnitOfWork, _cmd: Note) -> None:
        await post_and_note(uow, branch, Unit([pay(alice, bob, 1)]))

    async def batches() -> None:
        for _ in range(8):
            await sister.said(pay(bob, alice, 2), pay(alice, bob, 1))

    await asyncio.gather(batches(), *[branch.do(both, Note("x")) for _ in range(8)])
    assert await branch.posted(alice, bob) == [1_000, 1_000]
    assert len(await branch.rows("SELECT 1 FROM outbox WHERE type = 'test.noted'")) == 8
    books_read = await read_books(branch.url)
    assert problems(books_read) == []


async def test_a_posting_in_a_command_that_deadlocks_runs_again(postgres_url: str) -> None:
    branch = Branch(postgres_url)
    await branch.start()
    alice, bob = await branch.open(100), await branch.open()
    met, tries = asyncio.Barrier(2), []

    async def row_then_books(uow: UnitOfWork, cmd: Note) -> None:
        tries.append(cmd)
        await uow.execute(
            text(f"UPDATE ledger_balances SET flags = flags WHERE account_id = {alice}")
        )
        if len(tries) <= 2:
            await met.wait()
        await post(uow, branch.clock, [Unit([pay(alice, bob, 1)])])

    async def books_then_row(uow: UnitOfWork, cmd: Note) -> None:
        tries.append(cmd)
        await books.lock_head(uow)
        if len(tries) <= 2:
            await met.wait()
        await asyncio.sleep(0.2)  # the other waits for the head first and is the one to notice
        await uow.execute(
            text(f"UPDATE ledger_balances SET flags = flags WHERE account_id = {alice}")
        )

    await asyncio.gather(branch.do(row_then_books, Note("x")), branch.do(books_then_row, Note("y")))
    assert len(tries) == 3
    assert await branch.posted(alice, bob) == [99, 1]
    await branch.close()


async def test_a_posting_in_a_command_that_finds_another_version_runs_again(
    branch: Branch,
) -> None:
    alice, bob = await branch.open(100), await branch.open()
    tries: list[Note] = []

    async def both(uow: UnitOfWork, cmd: Note) -> None:
        tries.append(cmd)
        await write_note(uow, cmd)
        if len(tries) == 1:
            await plant_a_version_bump(uow)
        await post(uow, branch.clock, [Unit([pay(alice, bob, 1) for _ in range(COPY_FROM)])])

    await branch.do(both, Note("x"))
    assert len(tries) == 2
    assert await branch.posted(alice, bob) == [100 - COPY_FROM, COPY_FROM]
    assert problems(await read_books(branch.url)) == []


async def plant_a_version_bump(uow: UnitOfWork) -> None:
    """Until the transaction ends: what is read as a balance changes before it is written."""
    bump = "UPDATE ledger_balances SET version = version + 1 WHERE account_id = NEW.account_id"
    if uow.dialect == "sqlite":
        await uow.execute(
            text(f"CREATE TRIGGER bump AFTER INSERT ON ledger_entries BEGIN {bump}; END")
        )
        return
    await uow.execute(text("RESET ROLE"))
    await uow.execute(
        text(
            "CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {bump}; RETURN NEW; END $$"
        )
    )
    await uow.execute(
        text(
            "CREATE TRIGGER bump AFTER INSERT ON ledger_entries FOR EACH ROW "
            "EXECUTE FUNCTION bump()"
        )
    )


async def test_a_posting_in_a_command_whose_connection_is_cut_is_unavailable(
    postgres_url: str,
) -> None:
    branch = Branch(postgres_url)
    await branch.start()
    alice = await branch.open(5)

    async def cut_off(uow: UnitOfWork, _cmd: Note) -> None:
        await owner.execute(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            "application_name = 'guilder' AND datname = current_database()",
        )
        await post(uow, branch.clock, [Unit([pay(branch.settlement, alice, 1)])])

    with pytest.raises(Unavailable):
        await branch.do(cut_off, Note("x"))
    assert await branch.posted(alice) == [5]
    await branch.close()
