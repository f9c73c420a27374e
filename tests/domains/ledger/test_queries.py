"""Balances now and at a time on both axes, sums of a period, holds that are due, public ids."""

from uuid import UUID

import pytest

from guilder.core.clock import DAY_US, SECOND_US, day_of
from guilder.domains.ledger import queries
from guilder.domains.ledger.commands import SetBankClock, set_bank_clock
from guilder.domains.ledger.queries import Totals
from guilder.domains.ledger.rules.state import Kind
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import NOW, about, capture, hold, pay, reverse

TODAY = day_of(NOW)


@pytest.fixture
async def alice(branch: Branch) -> int:
    """An account with twelve days of history: back-dated, post-dated, held, reversed."""
    alice, bob = await branch.open(1_000), await branch.open(500)
    branch.clock.advance(days=1)
    await branch.said(
        pay(alice, bob, 100), pay(alice, bob, 20, value_on=TODAY - 3), pay(bob, alice, 7)
    )
    branch.clock.advance(days=1)
    (held,) = await branch.post(hold(alice, bob, 300))
    await branch.said(pay(alice, bob, 40, value_on=TODAY + 6), pay(bob, alice, 90, value_on=TODAY))
    branch.clock.advance(days=3)
    (captured,) = await branch.post(capture(held.number, 120))
    await branch.said(about(Kind.RELEASE, held.number), pay(alice, bob, 3))
    branch.clock.advance(days=7)
    await branch.said(
        reverse(captured.number, 20), reverse(captured.number, 5, value_on=TODAY + 1),
        pay(alice, bob, 11, value_on=TODAY + 5),
    )  # fmt: skip
    return alice


async def history(branch: Branch, number: int) -> list[tuple[int, int, int]]:
    """(booked_at, value day, delta) of every posted movement, straight from the transfers."""
    rows = await branch.rows(
        "SELECT booked_at, value_on, CASE WHEN debit_account = "
        f"{number} THEN -amount ELSE amount END FROM ledger_transfers "
        f"WHERE {number} IN (debit_account, credit_account) AND kind IN (1, 3, 4, 7)"
    )
    return [(at, day_of(at) if on is None else on, delta) for at, on, delta in rows]


async def test_the_balance_at_an_instant_is_what_was_booked_by_then(
    branch: Branch, alice: int
) -> None:
    moved = await history(branch, alice)
    assert len(moved) == 11
    instants = {at + step for at, _, _ in moved for step in (-1, 0, 1)} | {0, NOW * 2}
    for at_us in sorted(instants):
        found = await branch.ask(queries.balance_at, alice, at_us)
        assert found == sum(delta for at, _, delta in moved if at <= at_us)


async def test_the_balance_on_a_day_is_what_is_valued_by_its_end(
    branch: Branch, alice: int
) -> None:
    moved = await history(branch, alice)
    seen = set()
    for day in range(TODAY - 5, TODAY + 16):
        found = await branch.ask(queries.balance_on, alice, day)
        assert found == sum(delta for _, on, delta in moved if on <= day)
        seen.add(found)
    assert len(seen) > 6


async def test_the_two_axes_differ_where_a_value_date_is_not_that_of_the_booking(
    branch: Branch, alice: int
) -> None:
    async def both(day: int) -> tuple[int, int]:
        end = (day + 1) * DAY_US - 1
        return (
            await branch.ask(queries.balance_at, alice, end),
            await branch.ask(queries.balance_on, alice, day),
        )

    assert await both(TODAY - 3) == (0, -20)  # back-dated to before the account was funded
    assert await both(TODAY) == (1_000, 1_000 - 20 + 90)
    assert await both(TODAY + 2) == (937, 982)
    assert (await both(TODAY + 12))[0] == (await both(TODAY + 12))[1]


async def test_the_axes_of_an_account_that_never_moved_are_empty(branch: Branch) -> None:
    number = await branch.open()
    for who in (number, 99):
        assert await branch.ask(queries.balance_at, who, NOW) == 0
        assert await branch.ask(queries.balance_on, who, TODAY) == 0


async def test_the_sums_of_a_period_add_up_from_its_own_beginning(
    branch: Branch, alice: int
) -> None:
    moved = await history(branch, alice)
    bounds = [0, NOW, NOW + DAY_US, NOW + DAY_US + 1, NOW + 5 * DAY_US, NOW + 12 * DAY_US, NOW * 2]
    for from_us in bounds:
        for to_us in [bound for bound in bounds if bound >= from_us]:
            deltas = [delta for at, _, delta in moved if from_us <= at < to_us]
            starting = sum(delta for at, _, delta in moved if at < from_us)
            found = await branch.totals(alice, from_us, to_us)
            assert found == Totals(
                starting,
                starting + sum(deltas),
                sum(delta for delta in deltas if delta > 0),
                -sum(delta for delta in deltas if delta < 0),
                len(deltas),
            )
            assert found.starting + found.credits - found.debits == found.ending


async def test_a_period_before_and_after_all_history_is_empty(branch: Branch, alice: int) -> None:
    found = await branch.totals(alice, 0, 10)
    assert found == Totals(0, 0, 0, 0, 0)
    found = await branch.totals(alice, NOW * 2, NOW * 3)
    assert (found.starting, found.ending, found.count) == (found.ending, found.starting, 0)
    assert found.starting != 0


async def test_natural_balances_of_either_normal_side(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    await branch.said(hold(alice, bob, 30))
    settlement, mine = await branch.balance(branch.settlement), await branch.balance(alice)
    assert (mine.posted, mine.held, mine.available) == (100, 30, 70)
    assert (settlement.posted, settlement.held, settlement.available) == (100, 0, 100)
    assert await branch.said(hold(alice, branch.settlement, 25)) == ["created"]
    settlement = await branch.balance(branch.settlement)
    assert (settlement.posted, settlement.held, settlement.available) == (100, 25, 75)
    assert (settlement.asset, settlement.floor) == ("USD", None)
    assert await branch.ask(queries.balances_of, [99]) == {}


async def test_holds_are_due_by_the_banks_time_and_the_earliest_first(branch: Branch) -> None:
    alice, bob = await branch.open(100), await branch.open()
    ends = [NOW + seconds * SECOND_US for seconds in (30, 10, 20)]
    made = await branch.post(
        *[hold(alice, bob, 10, expires_at=end) for end in ends],
        hold(alice, bob, 10), hold(alice, bob, 10, expires_at=NOW + DAY_US),
    )  # fmt: skip
    late, early, middle, _, far = [result.number for result in made]

    async def due(count: int = 500) -> list[int]:
        return await branch.ask(queries.due_holds, count)

    branch.clock.at_us = ends[1] - 1
    assert await due() == []
    branch.clock.at_us = ends[1]
    assert await due() == [early]
    branch.clock.at_us = ends[0]
    assert await due() == [early, middle, late]
    assert await due(2) == [early, middle]
    assert await branch.said(about(Kind.EXPIRY, early), about(Kind.RELEASE, middle)) == [
        "created", "created",
    ]  # fmt: skip
    assert await due() == [late]
    await branch.do(set_bank_clock, SetBankClock(NOW + 2 * DAY_US))
    assert await due() == [late, far]


async def test_a_public_id_is_made_and_read_by_every_process_alike(
    branch: Branch, sister: Branch, alice: int
) -> None:
    ours = await branch.ask(queries.number_cipher)
    theirs = await sister.ask(queries.number_cipher)
    row = await branch.ask(queries.transfer, 3)
    assert row is not None
    public = ours.uuid_text(row.id, row.booked_at)
    assert theirs.number_of(UUID(public)) == 3
    assert theirs.uuid_text(3, row.booked_at) == public
    assert alice in (row.debit_account, row.credit_account)


async def test_only_what_moved_money_is_a_transfer(branch: Branch, alice: int) -> None:
    rows = await branch.rows("SELECT id, kind FROM ledger_transfers ORDER BY id")
    assert {kind for _, kind in rows} >= {Kind.TRANSFER, Kind.HOLD, Kind.RELEASE, Kind.REVERSAL}
    for number, kind in [*rows, (10_000, 0)]:
        row = await branch.ask(queries.transfer, number)
        assert (row is not None) == (kind in (1, 3, 4, 7))
        assert row is None or (row.id, row.kind) == (number, kind)
    assert alice


async def test_the_value_date_is_the_given_one_or_that_of_the_booking(
    branch: Branch, alice: int
) -> None:
    rows = [row for number in range(1, 12) if (row := await branch.ask(queries.transfer, number))]
    days = {row.amount: queries.value_day(row) for row in rows}
    assert (days[1_000], days[100], days[20], days[40]) == (TODAY, TODAY + 1, TODAY - 3, TODAY + 6)
    assert alice


async def test_balances_after_are_those_of_the_entries(branch: Branch, alice: int) -> None:
    assert await branch.ask(queries.balances_after, []) == {}
    pairs = [(alice, 1), (branch.settlement, 1), (alice, 3)]
    found = await branch.ask(queries.balances_after, pairs)
    assert {pair: found[pair] for pair in pairs} == {
        (alice, 1): 1_000, (branch.settlement, 1): -1_000, (alice, 3): 900,
    }  # fmt: skip
