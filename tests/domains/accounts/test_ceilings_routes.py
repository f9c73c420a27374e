"""No number is answered that a reader of JSON does not hold, and nobody takes all the room."""

from collections.abc import Iterator

import pytest

from guilder.core.actor import SYSTEM
from guilder.core.money import MAX_AMOUNT, MAX_BOOK
from guilder.domains.ledger.commands import Category, OpenLedgerAccount, open_ledger_account
from guilder.domains.ledger.queries import bank_account
from guilder.domains.ledger.rules.rows import bank_code
from guilder.domains.ledger.rules.state import Posting, Unit
from tests.support.app import bank_of
from tests.support.builders import a_transfer
from tests.support.teller import Body, Customer, Desk, answered, asked, refused


@pytest.fixture
async def ada(desk: Desk) -> Customer:
    return await desk.sign_up()


def integers(body: object) -> Iterator[int]:
    if isinstance(body, dict):
        for value in body.values():
            yield from integers(value)
    elif isinstance(body, list):
        for value in body:
            yield from integers(value)
    elif isinstance(body, int):
        yield body


def deposit_of(account: Body, amount: int) -> Body:
    return {"account_id": account["id"], "amount": amount, "currency": account["currency"]}


async def ledger_number(desk: Desk, account: Body) -> int:
    found = await bank_of(desk.app).directory.resolve([account["id"]])
    return found[account["id"]].number


async def test_a_balance_never_passes_what_json_holds(desk: Desk, ada: Customer) -> None:
    a, b = await ada.open(funds=MAX_AMOUNT), await ada.open(funds=5)
    refused(await ada.post("/simulations/deposits", deposit_of(a, 1)), 409, "balance_ceiling")
    refused(await ada.post("/transfers", asked(b, a, 1)), 409, "balance_ceiling")
    await ada.pay(a, b, 2)
    refused(await ada.post("/transfers", asked(b, a, 3)), 409, "balance_ceiling")
    assert (await ada.pay(b, a, 2))["balance_after"] == 5
    assert await ada.balance(a) == MAX_AMOUNT
    await desk.books()


async def test_the_sums_of_a_statement_never_pass_what_json_holds(
    desk: Desk, ada: Customer
) -> None:
    """On SQLite they passed 2^63 besides, and the answer was 500."""
    a, b = await ada.open(funds=MAX_AMOUNT), await ada.open()
    month = (await ada.read("/simulations/clock"))["now"][:7]
    path = f"/accounts/{a['id']}/statement"
    small = await ada.read(path, month=month)
    assert (small["total_credits"], small["totals_truncated"]) == (MAX_AMOUNT, False)
    one, other = await ledger_number(desk, a), await ledger_number(desk, b)
    there, back = (Posting(*pair, MAX_AMOUNT, "USD") for pair in ((one, other), (other, one)))
    outcome = await bank_of(desk.app).poster.submit(Unit([there, back] * 600))
    assert {result.status for result in outcome.results} == {"created"}
    found = await ada.read(path, month=month)
    assert found["totals_truncated"] is True
    assert (found["total_credits"], found["total_debits"]) == (MAX_AMOUNT, MAX_AMOUNT)
    assert (found["ending_balance"], found["transaction_count"]) == (MAX_AMOUNT, 1_201)
    assert max(integers(found)) == MAX_AMOUNT


async def test_one_customer_does_not_take_the_room_of_a_currency(desk: Desk, ada: Customer) -> None:
    """The settlement account counts all that ever went through it, and was full for everybody."""
    bank = bank_of(desk.app)
    a = await ada.open(funds=5)
    first = await ada.post("/simulations/deposits", deposit_of(a, 7), key="early")
    settlement = await bank.runner.view(bank_account, "USD", "settlement")
    fees = await bank.runner.view(bank_account, "USD", "fees")
    assert settlement is not None
    assert fees is not None
    await a_transfer(bank.poster, settlement, fees, MAX_BOOK - 20)
    bea = await desk.sign_up()
    b = await bea.open()
    dry = await bea.post("/simulations/deposits", deposit_of(b, 100), dry_run="true")
    refused(dry, 422, "amount_overflow")  # it opens no account
    made = answered(await bea.post("/simulations/deposits", deposit_of(b, 100), key="b"), 201)
    assert made["from_account_id"] != first.json()["from_account_id"]
    assert made["balance_after"] == 100
    for key, told, customer, account, amount in (
        ("early", first.json(), ada, a, 7), ("b", made, bea, b, 100),
    ):  # fmt: skip
        again = await customer.post("/simulations/deposits", deposit_of(account, amount), key=key)
        assert answered(again, 201) == told
        assert again.headers["idempotency-replayed"] == "true"
    (line,) = (await bea.read(f"/accounts/{b['id']}/transactions"))["items"]
    assert (line["category"], line["counterparty"]["account_id"]) == (
        "deposit", made["from_account_id"],
    )  # fmt: skip
    assert (await ada.deposit(a, 1))["from_account_id"] == made["from_account_id"]
    await desk.books()


async def test_an_account_that_is_full_itself_opens_no_other_of_the_banks(
    desk: Desk, ada: Customer
) -> None:
    bank = bank_of(desk.app)
    a, b = await ada.open(), await ada.open()
    settlement = await bank.runner.view(bank_account, "USD", "settlement")
    one, other = await ledger_number(desk, a), await ledger_number(desk, b)
    await ada.deposit(a, MAX_AMOUNT)
    there, back = (Posting(*pair, MAX_AMOUNT, "USD") for pair in ((one, other), (other, one)))
    await bank.poster.submit(Unit([there, back] * 1_023 + [there]))
    full = await ada.post("/simulations/deposits", deposit_of(a, MAX_AMOUNT))
    refused(full, 422, "amount_overflow")
    assert await bank.runner.view(bank_account, "USD", "settlement") == settlement


async def test_however_often_a_bank_account_went_on_the_last_is_found(
    desk: Desk, ada: Customer
) -> None:
    runner = bank_of(desk.app).runner
    await ada.open(funds=5)
    for place in range(2, 12):
        opening = OpenLedgerAccount(
            "USD", Category.ASSET, "Settlement", 1, bank_code("USD", "settlement", place), None
        )
        opened = await runner.run(open_ledger_account, opening, SYSTEM)
        assert await runner.view(bank_account, "USD", "settlement") == opened.number
