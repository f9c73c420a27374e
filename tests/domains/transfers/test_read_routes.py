import asyncio
from pathlib import Path

import pytest

from guilder.core.permissions import Role
from guilder.domains.accounts.schemas import StatementOut
from guilder.domains.transfers.schemas import TransferOut
from tests.support.teller import (
    NOBODYS,
    Customer,
    Desk,
    answered,
    asked,
    conforms,
    opened_desk,
    pointers,
    refused,
)


@pytest.fixture
async def payer(desk: Desk) -> Customer:
    return await desk.sign_up()


async def test_a_stranger_does_not_see_a_transfer(desk: Desk, payer: Customer) -> None:
    stranger = await desk.sign_up()
    await stranger.open()
    a, b = await payer.open(funds=100), await payer.open()
    made = await payer.pay(a, b, 1)
    there = refused(await stranger.get(f"/transfers/{made['id']}"), 404, "transfer_not_found")
    missing = refused(await stranger.get(f"/transfers/{NOBODYS}"), 404, "transfer_not_found")
    assert there | {"request_id": ""} == missing | {"request_id": ""}
    assert (await stranger.read("/transfers"))["items"] == []
    refused(await stranger.get("/transfers/7"), 404, "not_found")


async def test_an_id_that_was_not_given_out_finds_nothing(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=100), await payer.open()
    made = (await payer.pay(a, b, 1))["id"]
    last = "0" if made[-1] != "0" else "1"
    for forged in (made[:-1] + last, "0" + "f" + made[2:], made[:14] + "4" + made[15:]):
        refused(await payer.get(f"/transfers/{forged}"), 404, "transfer_not_found")
    assert (await payer.read(f"/transfers/{made.upper()}"))["id"] == made


async def test_metadata_is_its_makers_alone(desk: Desk, payer: Customer) -> None:
    """The payee once read what the payer had noted for themselves."""
    payee, admin = await desk.sign_up(), await desk.sign_up(Role.ADMIN)
    a, b = await payer.open(funds=100), await payee.open()
    noted = {"case": "what I think of them"}
    made = await payer.pay(a, b, 30, metadata=noted)
    path = f"/transfers/{made['id']}"
    assert made["metadata"] == noted
    assert (await payer.read(path))["metadata"] == noted
    assert (await payer.read("/transfers"))["items"][0]["metadata"] == noted
    for other in (payee, admin):
        seen = await other.read(path)
        conforms(TransferOut, seen)
        assert seen["metadata"] == {}
    assert (await payee.read("/transfers"))["items"][0]["metadata"] == {}
    lines = await payee.get(f"/accounts/{b['id']}/transactions")
    assert noted["case"] not in lines.text


async def test_each_side_sees_its_own_balance(desk: Desk, payer: Customer) -> None:
    payee, admin = await desk.sign_up(), await desk.sign_up(Role.ADMIN)
    a, a2, b = await payer.open(funds=100), await payer.open(), await payee.open(funds=5)
    made = await payer.pay(a, b, 30)
    between = await payer.pay(a, a2, 10)
    theirs = await payee.read(f"/transfers/{made['id']}")
    conforms(TransferOut, theirs)
    assert theirs == made | {"balance_after": 35}
    assert await payer.read(f"/transfers/{made['id']}") == made
    assert (await payer.read(f"/transfers/{between['id']}"))["balance_after"] == 60
    seen = await admin.read(f"/transfers/{made['id']}")
    conforms(TransferOut, seen)
    assert seen == {name: value for name, value in made.items() if name != "balance_after"}
    assert (await payee.read("/transfers"))["items"][0] == theirs


async def test_transfers_are_listed_in_stable_pages_while_money_moves(
    desk: Desk, payer: Customer
) -> None:
    a, b = await payer.open(funds=10_000), await payer.open()
    made = [await payer.pay(a, b, amount) for amount in range(1, 8)]
    first = await payer.read("/transfers", limit=3)
    seen, cursor = first["items"], first["next_cursor"]
    while cursor is not None:
        page, _ = await asyncio.gather(
            payer.read("/transfers", limit=3, cursor=cursor), payer.pay(b, a, 1)
        )
        seen += page["items"]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
    assert seen[:7] == made[::-1]
    assert len(seen) == 8  # the deposit is the oldest
    offset = await payer.read("/transfers", limit=1, offset=2)
    assert offset["items"] == [made[-1]]  # two payments back stand before it
    for limit in (0, 101):
        refused(await payer.get("/transfers", limit=limit), 422, "validation_failed")
    refused(await payer.get("/transfers", status="posted"), 400, "unknown_parameter")


async def test_a_deposit_is_for_the_owner_or_an_administrator(desk: Desk, payer: Customer) -> None:
    stranger, admin = await desk.sign_up(), await desk.sign_up(Role.ADMIN)
    a = await payer.open()
    body = {"account_id": a["id"], "amount": 700, "currency": "USD"}
    before = await desk.books()
    path = "/simulations/deposits"
    refused(await stranger.post(path, body), 404, "account_not_found")
    refused(await payer.post(path, body | {"account_id": NOBODYS}), 404, "account_not_found")
    refused(await payer.post(path, body | {"currency": "EUR"}), 422, "currency_mismatch")
    problem = refused(await payer.post(path, body | {"amount": 0}), 422, "validation_failed")
    assert pointers(problem) == [("/amount", "out_of_range")]
    refused(await payer.post(path, body | {"from": "x"}), 422, "validation_failed")
    dry = answered(await payer.post(path, body, dry_run="true"), 200)
    assert (dry["id"], dry["balance_after"]) == (None, 700)
    assert await desk.books() == before
    first = await payer.post(path, body | {"description": "Cash"}, key="d")
    again = await payer.post(path, body | {"description": "Cash"}, key="d")
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    conforms(TransferOut, first.json())
    assert (first.json()["balance_after"], first.json()["description"]) == (700, "Cash")
    assert await payer.read(f"/transfers/{first.json()['id']}") == first.json()
    assert "balance_after" not in answered(await admin.post(path, body), 201)
    assert await payer.balance(a) == 1_400
    await desk.books()


async def test_production_has_no_simulators(database_url: str, tmp_path: Path) -> None:
    async with opened_desk(database_url, tmp_path, env="production") as desk:
        customer = await desk.sign_up()
        account = await customer.open()
        body = {"account_id": account["id"], "amount": 700, "currency": "USD"}
        refused(await customer.post("/simulations/deposits", body), 404, "not_found")
        assert await customer.balance(account) == 0


async def test_the_walk(desk: Desk, tmp_path: Path) -> None:
    """Sign up, log in, two accounts, 1,000.00 in, 250.00 over, lines, statement, start again."""
    async with desk.client() as client:
        who = {"email": "ada@example.test", "password": "a long enough password"}
        answered(await client.post("/auth/signup", json=who), 201)
        form = {"username": who["email"], "password": who["password"]}
        token = answered(await client.post("/auth/login", data=form), 200)["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        ada = Customer(client, "")
        checking, savings = await ada.open(), await ada.open(type="savings")
        await ada.deposit(checking, 1_000_00)
        await ada.pay(checking, savings, 250_00)
        [out, cash] = (await ada.read(f"/accounts/{checking['id']}/transactions"))["items"]
        [into] = (await ada.read(f"/accounts/{savings['id']}/transactions"))["items"]
        lines = [
            (line["type"], line["amount"], line["balance_after"]) for line in (cash, out, into)
        ]
        assert lines == [
            ("credit", 1_000_00, 1_000_00), ("debit", 250_00, 750_00), ("credit", 250_00, 250_00),
        ]  # fmt: skip
        month = cash["booked_at"][:7]
        path = f"/accounts/{checking['id']}/statement"
        statement = await ada.read(path, month=month)
        conforms(StatementOut, statement)
        assert statement["period"]["month"] == month
        assert statement["period"]["starts_on"] == f"{month}-01"
        assert (statement["starting_balance"], statement["ending_balance"]) == (0, 750_00)
        assert (statement["total_credits"], statement["total_debits"]) == (1_000_00, 250_00)
        assert (statement["transaction_count"], statement["transactions_truncated"]) == (2, False)
        assert statement["transactions"] == [cash, out]
    async with opened_desk(desk.url, tmp_path) as again, again.client() as client:
        client.headers["Authorization"] = f"Bearer {token}"
        assert await Customer(client, "").read(path, month=month) == statement


async def test_old_statements_do_not_change_with_todays_balance(
    desk: Desk, payer: Customer
) -> None:
    """Debits were once always zero, and opening balances computed back from today's balance."""
    await desk.set_clock("2027-01-10T12:00:00+00:00")
    payee = await desk.sign_up()
    a, b = await payer.open(funds=1_000), await payee.open()
    await payer.pay(a, b, 100)
    await desk.set_clock("2027-01-31T23:59:50+00:00")
    await payer.pay(a, b, 30)
    path = f"/accounts/{a['id']}/statement"
    refused(await payer.get(path, month="2027-02"), 422, "month_in_future")
    await desk.set_clock("2027-02-01T00:00:00+00:00")
    january = await payer.read(path, month="2027-01")
    sums = ("starting_balance", "ending_balance", "total_credits", "total_debits")
    assert [january[name] for name in sums] == [0, 870, 1_000, 130]
    await payer.pay(a, b, 70)
    await payee.pay(b, a, 5)
    await desk.set_clock("2027-03-15T00:00:00+00:00")
    await payer.deposit(a, 10_000)
    february = await payer.read(path, month="2027-02")
    march = await payer.read(path, month="2027-03")
    assert [february[name] for name in sums] == [870, 805, 5, 70]
    assert [march[name] for name in sums] == [805, 10_805, 10_000, 0]
    assert await payer.read(path, month="2027-01") == january
    assert [line["amount"] for line in february["transactions"]] == [70, 5]
    refused(await payer.get(path, month="2026-12"), 422, "month_before_opening")
    for statement in (january, february, march):
        conforms(StatementOut, statement)
        start, end, credits, debits = (statement[name] for name in sums)
        assert start + credits - debits == end
        lines = statement["transactions"]
        assert statement["transaction_count"] == len(lines)
        signed = {"credit": 1, "debit": -1}
        assert start + sum(signed[line["type"]] * line["amount"] for line in lines) == end
        assert lines[-1]["balance_after"] == end
    mirror = await payee.read(f"/accounts/{b['id']}/statement", month="2027-01")
    assert (mirror["total_credits"], mirror["total_debits"]) == (130, 0)
    body = asked(a, b, 1)
    assert answered(await payer.post("/transfers", body), 201)["value_on"] == "2027-03-15"
