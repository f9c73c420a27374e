"""Accounts that are opened at once: one transaction, and each stands and is told by itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from guilder.core.actor import SYSTEM, Actor
from guilder.core.clock import DAY_US, FixedClock
from guilder.core.errors import Forbidden, Unauthenticated
from guilder.db.calls import SetBased
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.accounts.commands import (
    OpenAccount,
    close_accounts,
    open_account,
    open_accounts,
)
from guilder.domains.accounts.errors import CurrencyNotOffered
from guilder.domains.accounts.repository import AccountRow
from guilder.domains.identity.rules.users import User
from guilder.domains.identity.services.closing import ClosingService
from guilder.domains.ledger.commands import CHART, SetBankClock, set_bank_clock
from guilder.domains.ledger.poster import Poster
from guilder.verification import verify_database
from tests.db import owner
from tests.support.bank import open_store
from tests.support.builders import a_deposit, an_account, an_owner
from tests.support.constants import NOW
from tests.support.waiting import LONG

TOLD = "SELECT subject, digests FROM audit_events WHERE action = 'account.open' AND code IS NULL"


@pytest.fixture
async def runner(database_url: str) -> AsyncIterator[Runner]:
    database = Database(database_url)
    yield Runner(database, FixedClock(NOW))
    await database.close()


@pytest.fixture
async def neighbour(database_url: str) -> AsyncIterator[Runner]:
    """Another process, whose clock is behind."""
    database = Database(database_url)
    yield Runner(database, FixedClock(NOW - 3_000_000))
    await database.close()


async def opened(runner: Runner, *who: Actor, **more: Any) -> list[AccountRow | BaseException]:
    return await asyncio.gather(
        *[an_account(runner, one, **more) for one in who], return_exceptions=True
    )


async def holds(runner: Runner) -> None:
    found = await verify_database(runner.database.url)
    assert found.broken is None, found.broken


async def counts(runner: Runner) -> tuple[int, int, int]:
    """Accounts, and the rows of the ledger that they stand on, the bank's own apart."""
    tables = ("accounts", "ledger_accounts", "ledger_balances")
    found = await owner.counts(runner.database.url, *tables)
    return (
        found["accounts"],
        found["ledger_accounts"] - len(CHART),
        found["ledger_balances"] - len(CHART),
    )


async def test_accounts_opened_at_once_stand_and_are_told_each_for_itself(runner: Runner) -> None:
    owners = [await an_owner(runner, f"u{n}@example.test") for n in range(4)]
    rows = [row for row in await opened(runner, *owners, *owners) if isinstance(row, AccountRow)]
    assert [row.owner_user_id for row in rows] == [one.user_id for one in [*owners, *owners]]
    assert len({(row.id, row.ledger_number, row.account_number) for row in rows}) == 8
    assert await counts(runner) == (8, 8, 8)
    told = await owner.rows(runner.database.url, f"{TOLD} AND phase = 'succeeded'")
    assert [subject for subject, _ in told] == [str(row.id) for row in rows]
    by_bank = {str(number) for number in range(1, 1 + len(CHART))}
    for row, (_, digests) in zip(rows, told, strict=True):
        changed = json.loads(digests)
        assert list(changed["accounts"]) == [str(row.id)]
        assert set(changed["ledger_accounts"]) - by_bank == {str(row.ledger_number)}
        assert set(changed["ledger_balances"]) - by_bank == {str(row.ledger_number)}
    await holds(runner)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts SET name = 'Mine' WHERE ledger_number = {}",
        "UPDATE ledger_balances SET floor = -5 WHERE account_id = {}",
        "UPDATE ledger_accounts SET name = 'Other' WHERE id = {}",
        "DELETE FROM accounts WHERE ledger_number = {}",
    ],
)
async def test_a_row_of_a_group_that_is_altered_by_hand_is_found(
    runner: Runner, change: str
) -> None:
    who = await an_owner(runner)
    rows = [row for row in await opened(runner, who, who, who) if isinstance(row, AccountRow)]
    await holds(runner)
    await owner.execute(runner.database.url, change.format(rows[1].ledger_number))
    found = await verify_database(runner.database.url)
    assert found.row is not None
    assert found.row.key in (str(rows[1].id), str(rows[1].ledger_number))


async def test_who_is_refused_among_others_leaves_nothing_and_keeps_nobody(runner: Runner) -> None:
    who, gone = await an_owner(runner), await an_owner(runner, "gone@example.test")
    await owner.execute(
        runner.database.url,
        "UPDATE identity_users SET is_active = {} WHERE email = 'gone@example.test'".format(
            "0" if runner.database.sqlite else "false"
        ),
    )
    ended = await asyncio.gather(
        an_account(runner, who), an_account(runner, who, "XXX"), an_account(runner, SYSTEM),
        an_account(runner, gone), an_account(runner, who), return_exceptions=True,
    )  # fmt: skip
    kinds = [AccountRow, CurrencyNotOffered, Forbidden, Unauthenticated, AccountRow]
    assert [type(one) for one in ended] == kinds
    assert await counts(runner) == (2, 2, 2)


async def test_an_account_that_fails_half_way_leaves_nothing_and_the_others_are_opened(
    runner: Runner,
) -> None:
    who = await an_owner(runner)
    await owner.refuse_inserts(runner.database.url, "accounts", "NEW.name = 'bad'")
    ended = await asyncio.gather(
        *[an_account(runner, who, name=name) for name in ("a", "bad", "b")],
        return_exceptions=True,
    )
    assert [type(one) for one in ended[::2]] == [AccountRow, AccountRow]
    assert isinstance(ended[1], DBAPIError)
    assert await counts(runner) == (2, 2, 2)
    found = await verify_database(runner.database.url)
    assert (found.books.broken, found.audit.broken, found.row) == (None, None, None)


async def test_two_processes_open_at_once_and_the_books_hold(
    runner: Runner, neighbour: Runner
) -> None:
    who = [await an_owner(runner, f"u{n}@example.test") for n in range(3)]
    crowds = [opened(made, *who, *who) for made in [runner, neighbour] * 3]
    rows = [row for crowd in await asyncio.gather(*crowds) for row in crowd]
    assert {type(row) for row in rows} == {AccountRow}
    assert len({row.ledger_number for row in rows if isinstance(row, AccountRow)}) == 36
    assert await counts(runner) == (36, 36, 36)
    await holds(runner)


async def test_what_is_opened_in_a_group_is_opened_before_its_first_booking(
    runner: Runner, neighbour: Runner
) -> None:
    who = await an_owner(runner)
    await an_account(runner, who)
    later = Runner(runner.database, FixedClock(NOW + 5_000_000))
    rows = [row for row in await opened(later, who, who) if isinstance(row, AccountRow)]
    store = open_store(runner.database.url, neighbour.clock)
    poster = Poster(store)
    poster.start()
    booked = [await a_deposit(runner, poster, row.ledger_number, 5) for row in rows]
    await poster.stop()
    assert all(row.created_at <= one.booked_at for row, one in zip(rows, booked, strict=True))


async def test_a_group_opens_again_when_the_clock_is_set_back_meanwhile(postgres_url: str) -> None:
    """On SQLite nobody sets the clock while another transaction writes."""
    databases = [Database(postgres_url), Database(postgres_url)]
    runner, other = (Runner(one, FixedClock(NOW)) for one in databases)
    who = await an_owner(runner)
    opening: list[int] = []

    def set_back(_connection: Any, _cursor: Any, sql: str, *_more: Any) -> None:
        if "FROM ledger_head" in sql and "FOR UPDATE" not in sql:  # the bank's time was read
            opening.append(len(opening))
            if len(opening) == 1:
                await_only(other.run(set_bank_clock, SetBankClock(NOW - DAY_US), SYSTEM))

    event.listen(runner.database.writer.sync_engine, "after_cursor_execute", set_back)
    rows = [row for row in await opened(runner, who, who, who) if isinstance(row, AccountRow)]
    assert len(opening) == 2
    assert [row.created_at for row in rows] == [NOW - DAY_US] * 3
    for one in databases:
        await one.close()


@pytest.mark.parametrize("closes_first", [True, False])
async def test_no_account_outlives_a_login_that_is_closed_meanwhile(
    postgres_url: str, closes_first: bool
) -> None:
    """On SQLite one of both is over before the other begins."""
    databases = [Database(postgres_url), Database(postgres_url)]
    runner, other = (Runner(one, FixedClock(NOW)) for one in databases)
    who = await an_owner(runner)
    stays = await an_owner(runner, "stays@example.test")
    await an_account(runner, who)
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold_open(asked: Any) -> Any:
        answers = await open_accounts(asked)
        inside.set()
        await leave.wait()
        return answers

    async def hold_closing(uow: Any, user_id: UUID) -> bool:
        closed = await close_accounts(uow, user_id)
        inside.set()
        await leave.wait()
        return closed

    async def open_both() -> Sequence[Any]:
        handler = open_account if closes_first else SetBased(hold_open)
        command = OpenAccount("checking", "USD")
        calls = [runner.run(handler, command, one) for one in (who, stays)]
        ended: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        return ended

    async def close() -> User:
        closer = hold_closing if closes_first else close_accounts
        return await ClosingService(other, closer).close(who)

    first, second = (close, open_both) if closes_first else (open_both, close)
    async with asyncio.timeout(LONG):
        begun = asyncio.create_task(first())
        await inside.wait()
        follows = asyncio.create_task(second())
        await asyncio.sleep(0.1)
        assert not follows.done()
        leave.set()
        results: list[Any] = [await begun, await follows]
    answers = results[1] if closes_first else results[0]
    kinds = [Unauthenticated if closes_first else AccountRow, AccountRow]
    assert [type(one) for one in answers] == kinds
    left = "SELECT status, count(*) FROM accounts WHERE owner_user_id = '{}' GROUP BY status"
    assert await owner.rows(postgres_url, left.format(who.user_id)) == [
        ("closed", 1 if closes_first else 2)
    ]
    await holds(runner)
    for one in databases:
        await one.close()
