"""The trail tells digests of the rows that commands change, and ``verify`` holds rows to them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from sqlalchemy import Update, select, update

from guilder.core.actor import SYSTEM
from guilder.core.permissions import Role
from guilder.db.digest_proof import STOCK_ACTION, DigestTrail, stock_is_due
from guilder.db.digests import (
    NOTHING_CHANGED,
    digested_columns,
    digested_tables,
    raw_columns,
    row_state,
)
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.audit.services import bring_trail_up, trail_is_behind
from guilder.domains.audit.verify import verify_audit
from guilder.domains.identity.commands.factors import RemoveFactors, remove_factors
from guilder.domains.identity.commands.users import ChangeAccess, change_access
from guilder.domains.identity.models import passkeys, users
from guilder.domains.ledger.commands import (
    SetBounds,
    SetFlags,
    SetLimit,
    set_bounds,
    set_flags,
    set_limit,
)
from guilder.verification import Verification, verify_view
from tests.db import owner
from tests.db.house import TELLER, House, Note, write_note
from tests.support.builders import a_user, an_account
from tests.support.facts import a_customer
from tests.support.older_trails import forget_digests
from tests.support.statements import statements

PROVE = "UPDATE identity_users SET email_verified = NOT email_verified"


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    house = House(database_url)
    yield house
    await house.database.close()


async def verified(house: House) -> Verification:
    return await house.runner.view(verify_view)


async def problem(house: House) -> tuple[str, str]:
    found = await verified(house)
    assert (found.books.broken, found.audit.broken) == (None, None)
    assert found.row is not None
    return found.row.table, found.row.problem


@dataclass(frozen=True, slots=True)
class Do:
    """Run anything in a unit of work."""

    action: ClassVar[str] = "test.do"
    work: Callable[[UnitOfWork], Awaitable[Any]]


async def do(uow: UnitOfWork, cmd: Do) -> Any:
    return await cmd.work(uow)


async def told(house: House) -> list[dict[str, Any]]:
    """What each outcome told, in order."""
    return [json.loads(row.digests) for row in await house.audit() if row.digests is not None]


async def test_every_command_tells_what_it_changed_and_verify_holds(house: House) -> None:
    actor, account = await a_customer(house.runner)
    await a_user(house.runner, "admin@guilder.example", role=Role.ADMIN)
    number = account.ledger_number
    await house.runner.run(set_flags, SetFlags(number, add=1), SYSTEM)
    await house.runner.run(set_bounds, SetBounds(number, -5, None), SYSTEM)
    await house.runner.run(set_limit, SetLimit(number, "day", 7), SYSTEM)
    await house.runner.run(set_limit, SetLimit(number, "day"), SYSTEM)
    assert actor.user_id is not None
    await house.runner.run(change_access, ChangeAccess(actor.user_id, Role.READONLY, None), TELLER)
    held = await verified(house)
    assert held.broken is None
    assert held.rows == sum([await _count(house, table.name) for table in digested_tables()])
    assert f"Rows that the audit trail tells of, all as it has them: {held.rows}" in held.lines()
    await house.runner.run(remove_factors, RemoveFactors(actor.user_id), SYSTEM)
    assert (await verified(house)).broken is None
    assert await _count(house, "identity_passkeys") == 0


async def _count(house: House, table: str) -> int:
    return (await owner.counts(house.url, table))[table]


async def test_a_row_is_told_of_by_its_digests_alone(house: House) -> None:
    user = await a_user(house.runner, full_name="Ada Lovelace")
    (made,) = await told(house)
    assert list(made) == ["identity_users"]
    (before, after) = made["identity_users"][str(user.id)]
    assert before is None
    await house.runner.run(change_access, ChangeAccess(user.id, Role.READONLY, None), TELLER)
    changed = (await told(house))[-1]["identity_users"][str(user.id)]
    assert changed[0] == after != changed[1]
    trail = " ".join(map(str, await house.audit()))
    assert "Lovelace" not in trail
    assert user.email not in trail


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (PROVE, "it is not as the audit trail has it"),
        ("DELETE FROM identity_users", "it is missing, the audit trail has it"),
        ("INSERT INTO identity_users (id, email, email_key, password_hash, role, is_active,"
         " email_verified, created_at) SELECT '00000000-0000-0000-0000-000000000001', 'x', 'x',"
         " 'x', 'user', is_active, is_active, 0 FROM identity_users",
         "the audit trail tells of no such row"),
    ],
)  # fmt: skip
async def test_a_row_altered_by_hand_is_named(house: House, statement: str, said: str) -> None:
    await a_user(house.runner, email_verified=True)
    await owner.execute(house.url, statement)
    assert await problem(house) == ("identity_users", said)


async def test_what_a_command_makes_of_an_altered_row_is_found_all_the_same(house: House) -> None:
    user = await a_user(house.runner)
    await owner.execute(house.url, PROVE)
    await house.runner.run(change_access, ChangeAccess(user.id, None, False), TELLER)
    assert await problem(house) == (
        "identity_users", "it had been altered before row 4 of the trail",
    )  # fmt: skip


async def test_what_a_command_makes_of_an_added_row_is_found_all_the_same(house: House) -> None:
    user = await a_user(house.runner)
    await owner.execute(
        house.url,
        "INSERT INTO identity_users (id, email, email_key, password_hash, role, is_active,"
        " email_verified, created_at) SELECT '00000000-0000-0000-0000-000000000001', 'x', 'x', 'x',"
        " 'user', is_active, is_active, 0 FROM identity_users",
    )
    rows = await house.runner.view(lambda view: view.all(select(users.c.id)))
    (added,) = {row.id for row in rows} - {user.id}
    await house.runner.run(change_access, ChangeAccess(added, None, False), TELLER)
    assert await problem(house) == (
        "identity_users", "nothing tells of it before row 4 of the trail",
    )  # fmt: skip


async def test_a_command_that_goes_past_its_unit_of_work_is_found(house: House) -> None:
    """The planted defect: a changed row of which the command leaves no digest."""
    await a_user(house.runner)
    past = Do(lambda uow: uow.connection.execute(update(users).values(role="admin")))
    await house.runner.run(do, past, SYSTEM)
    assert await problem(house) == ("identity_users", "it is not as the audit trail has it")


async def test_what_is_rolled_back_is_told_nowhere(house: House) -> None:
    async def change_and_fail(uow: UnitOfWork) -> None:
        await uow.execute(update(users).values(role="admin"))
        raise RuntimeError("planted")

    await a_user(house.runner)
    with pytest.raises(RuntimeError):
        await house.runner.run(do, Do(change_and_fail), SYSTEM)
    assert [row.digests for row in await house.audit()][2:] == [None, None]
    assert (await verified(house)).broken is None


async def test_many_changes_of_a_row_in_one_command_are_told_as_one(house: House) -> None:
    async def there_and_back(uow: UnitOfWork) -> None:
        await uow.execute(update(users).values(role="admin"))
        await uow.execute(update(users).values(role="readonly"))
        await uow.execute(passkeys.delete())
        row = await uow.first(update(users).values(role="user").returning(users.c.role, users.c.id))
        assert (row.role, len(row)) == ("user", 2)
        assert await uow.scalar(update(users).values(role="user").returning(users.c.role)) == "user"
        assert (await uow.execute(update(users).values(role="user"))).rowcount == 1

    await a_customer(house.runner)
    await house.runner.run(do, Do(there_and_back), SYSTEM)
    assert list((await told(house))[-1]) == ["identity_passkeys"]
    assert (await verified(house)).broken is None


async def test_what_digests_do_not_cover_costs_nothing(house: House) -> None:
    await a_customer(house.runner)
    use = update(passkeys).values(sign_count=7)
    with statements(house.database) as said:
        await house.runner.run(do, Do(lambda uow: uow.execute(use)), SYSTEM)
    assert (await told(house))[-1] == {}
    about = [sql for sql, _ in said if "identity_passkeys" in sql]
    assert len(about) == 1
    assert "RETURNING" not in about[0]


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (update(users).values(id=None), None),
        (update(users), [{"role": "user"}, {"role": "admin"}]),
    ],
)
async def test_a_change_that_digests_cannot_follow_is_refused(
    house: House, statement: Update, values: Any
) -> None:
    with pytest.raises(TypeError, match="rows of identity_users have digests"):
        await house.runner.run(do, Do(lambda uow: uow.execute(statement, values)), SYSTEM)


async def test_commands_at_the_same_moment_tell_of_a_row_in_their_order(house: House) -> None:
    user = await a_user(house.runner)
    flip = update(users).where(users.c.id == user.id)

    async def change(number: int) -> None:
        changed = flip.values(full_name=f"name {number}")
        await house.runner.run(do, Do(lambda uow: uow.execute(changed)), SYSTEM)

    await asyncio.gather(*[change(number) for number in range(8)])
    assert (await verified(house)).broken is None
    assert len(await told(house)) == 9


async def test_a_row_reads_the_same_to_the_command_and_to_verify(house: House) -> None:
    await a_customer(house.runner)
    for table in digested_tables():
        typed = await house.runner.view(View.all, select(*digested_columns(table)))
        raw = await house.runner.view(View.all, select(*raw_columns(table)))
        assert typed, table.name
        assert [row_state(table, row) for row in typed] == [row_state(table, row) for row in raw]


async def test_an_upgraded_bank_takes_stock_once(house: House) -> None:
    """Rows that are older than digests stand as they are; from there on they are held to it."""
    await _some_that_are_older_than_digests(house)
    assert await trail_is_behind(house.runner)
    assert (await verified(house)).rows == 0
    await bring_trail_up(house.runner)
    assert not await house.runner.view(stock_is_due)
    found = await verified(house)
    assert (found.broken, found.rows > 10) == (None, True)
    await bring_trail_up(house.runner)
    taken = [row for row in await house.audit() if row.action == STOCK_ACTION]
    assert [row.phase for row in taken] == ["attempted", "succeeded"]
    await owner.execute(house.url, PROVE)
    assert await problem(house) == ("identity_users", "it is not as the audit trail has it")


async def test_stock_that_was_cut_short_is_taken_anew_and_blesses_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _some_that_are_older_than_digests(house)
    monkeypatch.setattr("guilder.db.digest_proof.STOCK_PAGE", 2)
    run, ran = house.runner.run, 0

    async def cut_short(*args: Any) -> Any:
        nonlocal ran
        ran += 1
        if ran > 5:
            raise OSError("killed")
        return await run(*args)

    monkeypatch.setattr(house.runner, "run", cut_short)
    with pytest.raises(OSError, match="killed"):
        await bring_trail_up(house.runner)
    monkeypatch.undo()
    found = await verified(house)
    assert (found.rows, found.broken) == (0, None)
    assert await house.runner.view(stock_is_due)
    await house.runner.run(set_bounds, SetBounds(1, -5, None), SYSTEM)
    await bring_trail_up(house.runner)
    assert (await verified(house)).broken is None
    await owner.execute(house.url, "UPDATE ledger_balances SET floor = -7 WHERE account_id = 1")
    assert (await problem(house))[0] == "ledger_balances"


async def _some_that_are_older_than_digests(house: House) -> None:
    """A trail of before: its rows tell nothing, and their hashes cover no digests."""
    await house.runner.run(write_note, Note("x"), TELLER)
    await a_customer(house.runner)
    await forget_digests(house.url)


async def test_nothing_is_changed_in_a_trail_that_tells_of_nothing(house: House) -> None:
    await house.runner.run(write_note, Note("x"), TELLER)
    assert [row.digests for row in await house.audit()] == [None, NOTHING_CHANGED]
    assert not await house.runner.view(stock_is_due)  # the trail is no older than digests
    trail = DigestTrail()
    await house.runner.view(verify_audit, digests=trail)
    assert await house.runner.view(trail.compare) == 0


async def test_opening_an_account_takes_no_statement_more(house: House) -> None:
    """Rows come back with what inserts them, and digests go with the row of the outcome."""
    actor, _ = await a_customer(house.runner)
    with statements(house.database) as said:
        await an_account(house.runner, actor)
    inserts = [sql.split()[2] for sql, _ in said if "RETURNING" in sql and "INSERT" in sql]
    assert inserts == ["ledger_accounts", "ledger_balances", "accounts"]
    assert [sql for sql, _ in said if "NO KEY UPDATE" in sql or "digest_key" in sql] == []
    assert len((await told(house))[-1]) == 3
