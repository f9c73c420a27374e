"""An admin's reads of what is not their own are in the audit trail, and nobody else's reads are."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.permissions import Role
from tests.support.constants import API
from tests.support.logins import Login, bearer, of_role

FOREIGN = {
    "/accounts/{account_id}": ("account.read", "account"),
    "/accounts/{account_id}/balance": ("account.read", "account"),
    "/accounts/{account_id}/transactions": ("account.read", "account"),
    "/accounts/{account_id}/statement": ("account.read", "account"),
    "/transfers/{transfer_id}": ("transfer.read", "transfer"),
    "/admin/users/{user_id}": ("user.read", "user"),
}
"""Every read of a thing by its id that an admin may have of others', and how the trail tells it."""
OWN = {"/passkeys/{passkey_id}", "/sessions/{session_id}"}
"""Reads by id that show nobody what is not their own."""


@pytest.fixture
async def root(app: FastAPI, client: httpx.AsyncClient) -> Login:
    return await of_role(app, client, Role.ADMIN, "root@example.test")


@pytest.fixture
async def ada(app: FastAPI, client: httpx.AsyncClient) -> Login:
    return await of_role(app, client, Role.USER, "ada@example.test")


async def trail(client: httpx.AsyncClient, who: Login) -> list[dict[str, Any]]:
    answer = await client.get(f"{API}/admin/audit-events?limit=100", headers=bearer(who))
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_an_admins_read_of_somebody_elses_is_in_the_trail(
    client: httpx.AsyncClient, root: Login, ada: Login
) -> None:
    account = (
        await client.post(
            f"{API}/accounts", json={"type": "checking", "currency": "EUR"}, headers=bearer(ada)
        )
    ).json()["id"]
    deposit = {"account_id": account, "amount": 5, "currency": "EUR"}
    made = await client.post(f"{API}/simulations/deposits", json=deposit, headers=bearer(ada))
    ids = {"account": account, "transfer": made.json()["id"], "user": ada["user"]["id"]}
    month = made.json()["booked_at"][:7]
    for template, (action, kind) in FOREIGN.items():
        path = API + template.replace(f"{{{kind}_id}}", ids[kind])
        query = {"month": month} if template.endswith("statement") else {}
        before = await trail(client, root)
        if kind != "user":
            own = await client.get(path, params=query, headers=bearer(ada))
            assert own.status_code == 200
            assert await trail(client, root) == before, template
        answer = await client.get(path, params=query, headers=bearer(root))
        assert answer.status_code == 200, answer.text
        done, begun, *older = await trail(client, root)
        assert older[:50] == before[:50], template
        assert (begun["phase"], done["phase"]) == ("attempted", "succeeded")
        assert (done["action"], done["subject"]) == (action, ids[kind]), template
        assert done["actor"] == f"user:{root['user']['id']}"
        assert (done["session_id"], done["attempt_id"]) == (
            root["session"]["id"], begun["attempt_id"],
        )  # fmt: skip


async def test_a_list_of_users_is_told_and_what_is_ones_own_is_not(
    client: httpx.AsyncClient, root: Login, ada: Login
) -> None:
    before = await trail(client, root)
    for path in (f"users/{root['user']['id']}", "users/01999999-0000-7000-8000-000000000001"):
        await client.get(f"{API}/admin/{path}", headers=bearer(root))
    await client.get(f"{API}/admin/users", headers=bearer(ada))  # refused
    assert await trail(client, root) == before
    await client.get(f"{API}/admin/users", params={"q": "example"}, headers=bearer(root))
    (told, *_), seen = await trail(client, root), {"found": 2}
    assert (told["action"], told["subject"], told["detail"]) == ("user.list", None, seen)


async def test_every_read_by_an_id_is_told_or_shows_ones_own_alone(app: FastAPI) -> None:
    """A new one has to be put into one of the two tables."""
    paths = {
        path.removeprefix(API)
        for path, operations in app.openapi()["paths"].items()
        if "get" in operations and "{" in path
    }
    assert paths == FOREIGN.keys() | OWN
