import asyncio

import pytest

from guilder.api.pagination import PageOut
from guilder.core.permissions import Role
from guilder.domains.accounts.rules import is_account_number
from guilder.domains.accounts.schemas import AccountOut, BalanceOut, LineOut, ProductOut
from tests.support.teller import (
    NOBODYS,
    Body,
    Customer,
    Desk,
    answered,
    conforms,
    pointers,
    refused,
)

REFUSED_BODIES: list[tuple[object, list[tuple[str, str]]]] = [
    ({}, [("/type", "required"), ("/currency", "required")]),
    ({"type": "gold", "currency": "USD"}, [("/type", "not_a_choice")]),
    ({"type": "checking", "currency": "XXX"}, [("/currency", "unknown_currency")]),
    ({"type": "checking", "currency": "usd"}, [("/currency", "unknown_currency")]),
    ({"type": "checking", "currency": None}, [("/currency", "unknown_currency")]),
    ({"type": "checking", "currency": "USD", "name": ""}, [("/name", "too_short")]),
    ({"type": "checking", "currency": "USD", "name": " "}, [("/name", "too_short")]),
    ({"type": "checking", "currency": "USD", "name": "a" * 101}, [("/name", "too_long")]),
    ({"type": "checking", "currency": "USD", "name": "a\nb"}, [("/name", "control_character")]),
    ({"type": "checking", "currency": "USD", "balance": 1}, [("/balance", "unknown_field")]),
]
REFUSED_QUERIES: list[tuple[str, dict[str, str], str]] = [
    ("", {"limit": "0"}, "limit"),
    ("", {"limit": "101"}, "limit"),
    ("/{id}/balance", {"at": "yesterday"}, "at"),
    ("/{id}/balance", {"at": "1700000000"}, "at"),
    ("/{id}/balance", {"on": "2026-02-30"}, "on"),
    ("/{id}/balance", {"on": "2026-02-01", "at": "2026-02-01T00:00:00Z"}, "on"),
    ("/{id}/transactions", {"from": "2026-13-01"}, "from"),
    ("/{id}/transactions", {"to": "soon"}, "to"),
    ("/{id}/transactions", {"type": "both"}, "type"),
    ("/{id}/transactions", {"min_amount": "0"}, "min_amount"),
    ("/{id}/transactions", {"max_amount": "1.5"}, "max_amount"),
    ("/{id}/transactions", {"status": "lost"}, "status"),
    ("/{id}/transactions", {"q": "x" * 101}, "q"),
    ("/{id}/statement", {}, "month"),
    ("/{id}/statement", {"month": "2026-13"}, "month"),
    ("/{id}/statement", {"month": "2026-1"}, "month"),
    ("/{id}/statement", {"month": "0000-01"}, "month"),
    ("/{id}/statement", {"month": "9999-12"}, "month"),
    ("/{id}/statement", {"month": "0001-01"}, "month"),
]


async def test_a_body_that_breaks_the_rules_opens_nothing(desk: Desk) -> None:
    customer = await desk.sign_up()
    for body, expected in REFUSED_BODIES:
        problem = refused(await customer.post("/accounts", body), 422, "validation_failed")
        assert pointers(problem) == expected, body
    assert (await customer.read("/accounts"))["items"] == []


async def test_a_query_that_breaks_the_rules_is_refused(desk: Desk) -> None:
    customer = await desk.sign_up()
    account = await customer.open()
    for path, query, name in REFUSED_QUERIES:
        response = await customer.get(f"/accounts{path}".format(**account), **query)
        assert response.status_code == 422, (path, query, response.text)
        assert [where for where, _ in pointers(response.json())] == [name], (path, query)
    unknown = await customer.get(f"/accounts/{account['id']}", balance="1")
    refused(unknown, 400, "unknown_parameter")


async def test_nobody_reads_without_a_token(desk: Desk) -> None:
    account = await (await desk.sign_up()).open()
    async with desk.client() as client:
        for path in ("/products", "/accounts", *paths_of(account)):
            response = await client.get(path)
            refused(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


async def test_a_stranger_sees_what_is_not_there(desk: Desk) -> None:
    owner, stranger = await desk.sign_up(), await desk.sign_up()
    account = await owner.open(funds=500)
    for mine, nobodys in zip(paths_of(account), paths_of({"id": NOBODYS}), strict=True):
        assert (await owner.get(mine)).status_code == 200
        there = refused(await stranger.get(mine), 404, "account_not_found")
        missing = refused(await stranger.get(nobodys), 404, "account_not_found")
        assert there | {"request_id": ""} == missing | {"request_id": ""}
    assert (await stranger.read("/accounts"))["items"] == []
    refused(await stranger.get("/accounts/not-an-id"), 404, "not_found")


async def test_an_administrator_reads_every_account(desk: Desk) -> None:
    owner, admin = await desk.sign_up(), await desk.sign_up(Role.ADMIN)
    account = await owner.open(funds=500)
    for path in paths_of(account):
        assert (await admin.get(path)).status_code == 200
    assert (await admin.read("/accounts"))["items"] == []  # the list is of one's own


async def test_who_may_only_read_opens_no_account(desk: Desk) -> None:
    reader = await desk.sign_up(Role.READONLY)
    body = {"type": "checking", "currency": "USD"}
    refused(await reader.post("/accounts", body), 403, "forbidden")
    assert (await reader.read("/accounts"))["items"] == []


async def test_the_products_are_listed(desk: Desk) -> None:
    body = await (await desk.sign_up()).read("/products")
    conforms(PageOut[ProductOut], body)
    assert {product["type"] for product in body["items"]} >= {"checking", "savings"}


async def test_an_account_is_opened_once_for_its_key(desk: Desk) -> None:
    customer = await desk.sign_up()
    body = {"type": "savings", "currency": "KWD", "name": "  Cafe\u0301 "}
    first = await customer.post("/accounts", body, key="one")
    again = await customer.post("/accounts", body, key="one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    for form in ("Caf\u00e9", "Cafe\u0301\t"):
        same = await customer.post("/accounts", body | {"name": form}, key="one")
        assert (same.content, same.headers["idempotency-replayed"]) == (first.content, "true")
    other = await customer.post("/accounts", body | {"type": "checking"}, key="one")
    refused(other, 422, "idempotency_conflict")
    account = first.json()
    conforms(AccountOut, account)
    assert is_account_number(account["account_number"])
    assert (account["name"], account["exponent"], account["status"]) == ("Café", 3, "active")
    assert [account[name] for name in ("balance", "held", "available_balance", "version")] == [
        0
    ] * 4
    assert await customer.read(f"/accounts/{account['id']}") == account
    assert (await customer.read("/accounts"))["items"] == [account]


async def test_accounts_are_listed_newest_first_in_stable_pages(desk: Desk) -> None:
    customer = await desk.sign_up()
    opened = [(await customer.open())["id"] for _ in range(5)]
    first = await customer.read("/accounts", limit=2)
    await customer.open()  # must not shift what follows
    second = await customer.read("/accounts", limit=2, cursor=first["next_cursor"])
    third = await customer.read("/accounts", limit=2, cursor=second["next_cursor"])
    found = [account["id"] for page in (first, second, third) for account in page["items"]]
    assert found == opened[::-1]
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]
    assert third["next_cursor"] is None
    skipped = await customer.read("/accounts", limit=2, offset=1)
    assert [account["id"] for account in skipped["items"]] == opened[:2:-1]


async def test_lines_are_listed_in_stable_pages_while_money_moves(desk: Desk) -> None:
    customer = await desk.sign_up()
    a, b = await customer.open(funds=10_000), await customer.open()
    for amount in range(1, 8):
        await customer.pay(a, b, amount)
    path, seen, cursor = f"/accounts/{a['id']}/transactions", [], None
    for _ in range(4):
        query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page, _paid = await asyncio.gather(customer.read(path, **query), customer.pay(a, b, 1_000))
        seen += [line["amount"] for line in page["items"]]
        cursor = page["next_cursor"]
    start = seen.index(7)  # payments at the very beginning may or may not be in the first page
    assert seen[start:] == [7, 6, 5, 4, 3, 2, 1, 10_000][: len(seen) - start]
    assert len(seen) == 8


async def test_lines_are_filtered_by_everything_at_once(desk: Desk) -> None:
    customer = await desk.sign_up()
    a, b = await customer.open(funds=10_000), await customer.open()
    await desk.set_clock("2027-01-31T10:00:00+00:00")
    await customer.pay(a, b, 100, description="Rent for January", reference="R-1")
    await desk.set_clock("2027-02-01T10:00:00+00:00")
    await customer.pay(a, b, 200, description="Groceries 100%", reference="rent-2")
    await customer.pay(b, a, 50, description="Back")
    await desk.set_clock("2027-02-02T10:00:00+00:00")
    await customer.pay(a, b, 300)

    async def amounts(**query: object) -> list[int]:
        found = await customer.read(f"/accounts/{a['id']}/transactions", **query)
        for line in found["items"]:
            conforms(LineOut, line)
        return [line["amount"] for line in found["items"]]

    assert await amounts() == [300, 50, 200, 100, 10_000]
    assert await amounts(type="credit") == [50, 10_000]
    assert await amounts(type="debit") == [300, 200, 100]
    assert await amounts(q="RENT") == [200, 100]
    assert await amounts(q="100%") == [200]
    assert await amounts(q="%") == [200]
    assert await amounts(q="_") == []
    assert await amounts(min_amount=100, max_amount=200) == [200, 100]
    assert await amounts(status="posted", type="credit", max_amount=50) == [50]
    assert await amounts(status="pending") == []
    assert await amounts(**{"from": "2027-02-01", "to": "2027-02-01"}) == [50, 200]
    assert await amounts(**{"from": "2027-01-31T23:59:59.999999Z"}) == [300, 50, 200]
    assert await amounts(to="2027-02-01T00:00:00Z", q="rent") == [100]
    assert await amounts(**{"from": "2027-02-02", "to": "2027-02-01"}) == []
    everything = {"from": "2027-01-31", "to": "2027-02-01", "type": "debit", "min_amount": 150}
    assert await amounts(q="rent", **everything) == [200]


async def test_both_sides_of_a_transfer_see_their_line(desk: Desk) -> None:
    payer, payee = await desk.sign_up(), await desk.sign_up()
    a = await payer.open(funds=1_000, name="My secret plans")
    b = await payee.open()
    words = {"description": "Lunch", "reference": "R-7"}
    transfer = await payer.pay(a, b, 250, **words)
    [debit, deposit] = (await payer.read(f"/accounts/{a['id']}/transactions"))["items"]
    [credit] = (await payee.read(f"/accounts/{b['id']}/transactions"))["items"]
    assert (debit["type"], debit["balance_after"]) == ("debit", 750)
    assert (credit["type"], credit["balance_after"]) == ("credit", 250)
    assert deposit["category"] == "deposit"
    assert deposit["counterparty"]["account_number"] is None
    for line, other in ((debit, b), (credit, a)):
        assert line["transfer_id"] == transfer["id"]
        assert (line["amount"], line["currency"], line["category"]) == (250, "USD", "transfer")
        assert (line["description"], line["reference"]) == ("Lunch", "R-7")
        assert line["booked_at"] == transfer["booked_at"]
        assert line["value_on"] == transfer["value_on"]
        assert line["counterparty"]["account_id"] == other["id"]
        assert line["counterparty"]["account_number"] == other["account_number"]
    assert len({debit["id"], credit["id"], transfer["id"]}) == 3
    assert "secret" not in str(credit)
    again = (await payer.read(f"/accounts/{a['id']}/transactions"))["items"]
    assert [line["id"] for line in again] == [debit["id"], deposit["id"]]


async def test_ones_own_accounts_are_called_by_their_names(desk: Desk) -> None:
    customer = await desk.sign_up()
    a, b = await customer.open(funds=10), await customer.open(name="Holidays")
    await customer.pay(a, b, 1)
    [line, _] = (await customer.read(f"/accounts/{a['id']}/transactions"))["items"]
    assert line["counterparty"]["name"] == "Holidays"


async def test_the_balance_is_known_for_every_moment(desk: Desk) -> None:
    customer = await desk.sign_up()
    a, b = await customer.open(), await customer.open()
    await desk.set_clock("2027-01-31T10:00:00+00:00")
    await customer.deposit(a, 1_000)
    await desk.set_clock("2027-02-01T10:00:00+00:00")
    paid = await customer.pay(a, b, 300)
    path = f"/accounts/{a['id']}/balance"

    async def balance(**query: str) -> int:
        body = await customer.read(path, **query)
        conforms(BalanceOut, body)
        found: int = body["balance"]
        return found

    assert await balance() == 700
    assert await balance(on="2027-01-30") == 0
    assert await balance(on="2027-01-31") == 1_000
    assert await balance(on="2027-02-01") == 700
    assert await balance(at="2027-01-31T09:59:59Z") == 0
    assert await balance(at="2027-01-31T13:00:00+02:00") == 1_000
    assert await balance(at=paid["booked_at"]) == 700
    assert await balance(at="2027-02-01T10:00:00Z") == 1_000
    assert await balance(at="0001-01-01T00:00:00Z") == 0
    assert await balance(at="9999-12-31T23:59:59.999999Z") == 700
    assert await balance(on="9999-12-31") == 700
    now = await customer.read(path)
    assert (now["held"], now["available_balance"], now["currency"]) == (0, 700, "USD")


def paths_of(account: Body) -> list[str]:
    base = f"/accounts/{account['id']}"
    parts = ("", "/balance", "/balance?on=2026-01-31", "/balance?at=2026-01-31T00:00:00Z")
    return [
        *(base + part for part in parts),
        f"{base}/transactions",
        f"{base}/transactions?status=pending",
        f"{base}/statement?month=2026-11",
    ]


@pytest.mark.parametrize("path", ["/accounts", "/products"])
async def test_a_slash_at_the_end_changes_nothing(desk: Desk, path: str) -> None:
    customer: Customer = await desk.sign_up()
    plain, slashed = await customer.get(path), await customer.get(path + "/")
    assert answered(plain, 200) == answered(slashed, 200)


async def test_no_account_is_opened_in_a_currency_that_is_gone(desk: Desk) -> None:
    customer = await desk.sign_up()
    for product in (await customer.read("/products"))["items"]:
        assert {"XAD", "EUR"} <= set(product["currencies"])
        assert not {"BGN", "ANG"} & set(product["currencies"])
    for gone in ("BGN", "ANG"):
        answer = await customer.post("/accounts", {"type": "checking", "currency": gone})
        assert pointers(refused(answer, 422, "currency_not_offered")) == [
            ("/currency", "currency_not_offered")
        ]
    assert (await customer.open("XAD"))["exponent"] == 2


async def test_an_account_in_a_currency_that_is_gone_stays_what_it_is(desk: Desk) -> None:
    await desk.set_clock("2025-12-31T12:00:00Z")
    customer = await desk.sign_up()
    a, b = await customer.open("BGN", funds=500), await customer.open("BGN")
    await desk.set_clock("2026-01-01T00:00:00Z")
    made = await customer.pay(a, b, 200, currency="BGN")
    assert (made["currency"], made["exponent"], made["balance_after"]) == ("BGN", 2, 300)
    statement = await customer.read(f"/accounts/{b['id']}/statement", month="2026-01")
    assert (statement["currency"], statement["ending_balance"]) == ("BGN", 200)
    answer = await customer.post("/accounts", {"type": "checking", "currency": "BGN"})
    refused(answer, 422, "currency_not_offered")
