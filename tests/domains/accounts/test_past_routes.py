"""What was answered about an instant that is over is the answer for ever, while others pay."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.sizes import of, sqlite_in_ci, tell
from tests.support.teller import Body, Customer, Desk, asked, opened_desk

ANSWERS = 12
BATCH = 100
MONTHS = 5
BEFORE = timedelta(seconds=0.15)


@pytest.fixture
async def second(desk: Desk, tmp_path: Path) -> AsyncIterator[Desk]:
    """Another process of the same bank."""
    async with opened_desk(desk.url, tmp_path) as second:
        yield second


def elsewhere(customer: Customer, desk: Desk) -> Customer:
    """The same customer at another process."""
    client = desk.client()
    client.headers["Authorization"] = customer.client.headers["Authorization"]
    return Customer(client, customer.id)


async def pay_on(customer: Customer, source: Body, target: Body, over: asyncio.Event) -> None:
    """Pay in batches that take a while to commit."""
    body = {"transfers": [asked(source, target, 1)] * BATCH}
    while not over.is_set():
        answer = await customer.post("/transfers/batches", body)
        assert answer.status_code in (201, 503), answer.text  # 503: the queue is full


@sqlite_in_ci
async def test_no_answer_about_an_instant_that_is_over_changes_while_two_processes_pay(
    desk: Desk, second: Desk
) -> None:
    """Of the answers under load a third changed later on PostgreSQL, and most of them on SQLite."""
    here = await desk.sign_up()
    there = elsewhere(here, second)
    a, b = await here.open(funds=1_000_000), await here.open()
    over = asyncio.Event()
    payers = [asyncio.create_task(pay_on(customer, a, b, over)) for customer in (here, there) * 3]
    path = f"/accounts/{a['id']}"
    asked: list[tuple[str, dict[str, str], Body]] = []
    for number in range(ANSWERS):
        now = datetime.now(UTC).isoformat()
        customer = (here, there)[number % 2]
        for place, query in (("balance", {"at": now}), ("transactions", {"to": now, "limit": "1"})):
            found = await customer.read(f"{path}/{place}", **query)
            asked.append((f"{path}/{place}", query, found))
    over.set()
    await asyncio.gather(*payers)
    changed = [
        query for place, query, found in asked
        if _told(await here.read(place, **query)) != _told(found)
    ]  # fmt: skip
    tell("answers about the past that changed", changed=of(len(changed), len(asked)))
    assert changed == []
    await desk.books()


def _told(answer: Body) -> object:
    """What must not change: cursors are new each time, or may be."""
    return answer.get("items", answer)


@sqlite_in_ci
async def test_the_statement_of_a_month_that_has_just_ended_is_final(
    desk: Desk, second: Desk
) -> None:
    """A month's ending balance was once answered as 1000 and then as 600."""
    here = await desk.sign_up()
    there = elsewhere(here, second)
    await desk.set_clock("2031-01-01T00:00:00Z")
    a, b = await here.open(funds=1_000_000), await here.open()
    over = asyncio.Event()
    payers = [asyncio.create_task(pay_on(customer, a, b, over)) for customer in (here, there) * 2]
    path = f"/accounts/{a['id']}/statement"
    firsts: dict[str, Body] = {}
    for month in range(2, 2 + MONTHS):
        turn = datetime(2031, month, 1, tzinfo=UTC)
        await desk.set_clock((turn - BEFORE).isoformat())
        await asyncio.sleep(BEFORE.total_seconds())  # a batch is on its way when the month ends
        ended = f"2031-{month - 1:02}"
        firsts[ended] = _summed(await there.read(path, month=ended))
    over.set()
    await asyncio.gather(*payers)
    changed = [
        ended for ended, first in firsts.items()
        if _summed(await here.read(path, month=ended)) != first
    ]  # fmt: skip
    tell("statements that changed", changed=of(len(changed), len(firsts)))
    assert changed == []
    for ended, first in firsts.items():
        last = date.fromisoformat(f"{ended}-28") + timedelta(days=4)
        on = str(last - timedelta(days=last.day))
        balance = (await here.read(f"/accounts/{a['id']}/balance", on=on))["balance"]
        assert balance == first["ending_balance"]


def _summed(statement: Body) -> Body:
    """A statement but for its lines, of which it has thousands."""
    return statement | {"transactions": len(statement["transactions"])}
