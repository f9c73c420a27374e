"""A cursor is good for the list, the filters and the caller it was given for, and tells nothing.

What is inside is a number of the whole bank: read twice, it would tell what everybody does.
"""

from base64 import urlsafe_b64decode

import pytest

from guilder.core.permissions import Role
from tests.support.declared import document
from tests.support.teller import Body, Customer, Desk, refused

LISTS = sorted(
    path.removeprefix("/api/v1")
    for path, methods in document()["paths"].items()
    if any(one.get("name") == "cursor" for one in methods.get("get", {}).get("parameters", ()))
)


async def some_account(customer: Customer) -> Body:
    """One of three accounts, with four lines on it."""
    a, b = await customer.open(funds=100), await customer.open()
    await customer.open()
    for amount in (1, 2, 3):
        await customer.pay(a, b, amount, description="Rent")
    return a


@pytest.fixture
async def admin(desk: Desk) -> Customer:
    return await desk.sign_up(Role.ADMIN)


async def cursor_of(customer: Customer, path: str, **query: object) -> str:
    cursor = (await customer.read(path, limit=1, **query))["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


async def test_a_cursor_of_one_list_is_refused_by_every_other(desk: Desk, admin: Customer) -> None:
    a = await some_account(admin)
    await desk.sign_up()
    paths = [path.replace("{account_id}", a["id"]) for path in LISTS]
    assert len(paths) > 5
    for given in ("/transfers", "/accounts", "/admin/users", "/admin/audit-events"):
        cursor = await cursor_of(admin, given)
        for path in paths:
            answer = await admin.get(path, cursor=cursor)
            if path == given:
                assert answer.status_code == 200
            else:
                refused(answer, 400, "invalid_cursor")


async def test_a_cursor_is_refused_for_another_account(desk: Desk, admin: Customer) -> None:
    a, b = await some_account(admin), await some_account(admin)
    cursor = await cursor_of(admin, f"/accounts/{a['id']}/transactions")
    refused(
        await admin.get(f"/accounts/{b['id']}/transactions", cursor=cursor), 400, "invalid_cursor"
    )


async def test_a_cursor_is_refused_with_other_filters(desk: Desk, admin: Customer) -> None:
    path = f"/accounts/{(await some_account(admin))['id']}/transactions"
    cursor = await cursor_of(admin, path, type="debit", q="rent")
    page = await admin.read(path, cursor=cursor, q="rent", limit=2, type="debit")
    assert [line["amount"] for line in page["items"]] == [2, 1]
    for other in ({}, {"type": "debit"}, {"type": "credit", "q": "rent"}, {"q": "rent"}):
        refused(await admin.get(path, cursor=cursor, **other), 400, "invalid_cursor")
    wider = {"type": "debit", "q": "rent", "min_amount": 1}
    refused(await admin.get(path, cursor=cursor, **wider), 400, "invalid_cursor")


async def test_a_cursor_of_one_caller_is_refused_to_another(desk: Desk) -> None:
    one, other = await desk.sign_up(), await desk.sign_up()
    await some_account(one)
    await some_account(other)
    for path in ("/transfers", "/accounts"):
        cursor = await cursor_of(one, path)
        assert (await one.get(path, cursor=cursor)).status_code == 200
        refused(await other.get(path, cursor=cursor), 400, "invalid_cursor")


async def test_nobody_counts_what_others_do_by_cursors(desk: Desk) -> None:
    one, other = await desk.sign_up(), await desk.sign_up()
    await some_account(one)
    seen = set()
    for _ in range(12):
        cursor = await cursor_of(one, "/transfers")
        inside = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        seen.add(len(cursor))
        assert not inside.isdigit()
        await some_account(other)
    assert len(seen) == 1
