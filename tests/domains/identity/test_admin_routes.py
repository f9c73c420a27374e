"""The users as an admin sees and changes them, and everybody else does not."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.permissions import Role
from tests.support.app import bank_of
from tests.support.constants import API, PASSWORD
from tests.support.logins import (
    assert_problem,
    bearer,
    logged_in,
    of_role,
    refresh,
    signed_up,
    status_of,
)

USERS = f"{API}/admin/users"


@pytest.fixture
async def root(app: FastAPI, client: httpx.AsyncClient) -> dict[str, Any]:
    return await of_role(app, client, Role.ADMIN, "root@example.test")


async def change(
    client: httpx.AsyncClient, who: dict[str, Any], user: dict[str, Any], **body: object
) -> httpx.Response:
    return await client.patch(f"{USERS}/{user['user']['id']}", json=body, headers=bearer(who))


async def test_an_admin_sees_all_users_newest_first(
    client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    ada = await signed_up(client, "ada@example.test")
    eve = await signed_up(client, "Eve%_@example.test")
    page = (await client.get(USERS, headers=bearer(root))).json()
    assert page["items"] == [eve["user"], ada["user"], root["user"]]
    first = (await client.get(f"{USERS}?limit=2", headers=bearer(root))).json()
    rest = await client.get(f"{USERS}?cursor={first['next_cursor']}", headers=bearer(root))
    assert first["items"] + rest.json()["items"] == page["items"]
    shown = await client.get(f"{USERS}/{ada['user']['id']}", headers=bearer(root))
    assert (shown.status_code, shown.json()) == (200, ada["user"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=ADA", ["ada"]),
        ("q=lovelace", ["ada"]),
        ("q=%25", []),
        ("role=admin", ["root"]),
        ("role=readonly", []),
        ("is_active=false", []),
        ("is_active=true&role=user", ["ada"]),
        ("q=example.test", ["ada", "root"]),
    ],
)
async def test_users_are_filtered(
    client: httpx.AsyncClient, root: dict[str, Any], query: str, found: list[str]
) -> None:
    ada = await signed_up(client, "ada@example.test")
    await client.patch(f"{API}/users/me", json={"full_name": "Ada Lovelace"}, headers=bearer(ada))
    page = (await client.get(f"{USERS}?{query}", headers=bearer(root))).json()
    assert [user["email"].partition("@")[0] for user in page["items"]] == found


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Anna Weiß", "Anna Weiß"), ("Anna Weiß", "WEISS anna"), ("Κώστας", "Κώστας"),
        ("Κώστας", "ΚΩΣΤΑΣ"), ("İlker", "İlker"), ("İlker", "ilker"), ("Зоя", "ЗОЯ"),
        ("Renée", "renee"), ("Renée", "Rene\u0301e"), ("Renée", "renee example"),
    ],
)  # fmt: skip
async def test_users_are_found_by_their_names_however_spelled(
    client: httpx.AsyncClient, root: dict[str, Any], name: str, typed: str
) -> None:
    ada = await signed_up(client, "ada@example.test")
    for full_name in ("Somebody", name):
        body = {"full_name": full_name}
        await client.patch(f"{API}/users/me", json=body, headers=bearer(ada))
    await signed_up(client, "eve@example.test")
    found = (await client.get(USERS, params={"q": typed}, headers=bearer(root))).json()
    assert [user["full_name"] for user in found["items"]] == [name]
    gone = (await client.get(USERS, params={"q": "somebody"}, headers=bearer(root))).json()
    assert gone["items"] == []


async def test_users_are_found_by_their_addresses_however_spelled(
    client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    await signed_up(client, "Renée@bücher.test")
    for typed in ("renée@", "RENEE", "bücher.test", "bucher"):
        found = (await client.get(USERS, params={"q": typed}, headers=bearer(root))).json()
        assert [user["email"] for user in found["items"]] == ["Renée@bücher.test"]


@pytest.mark.parametrize("role", [Role.USER, Role.READONLY])
async def test_nobody_else_sees_or_changes_users(
    app: FastAPI, client: httpx.AsyncClient, root: dict[str, Any], role: Role
) -> None:
    who = await of_role(app, client, role, "eve@example.test")
    own = f"{USERS}/{who['user']['id']}"
    for answer in (
        await client.get(USERS, headers=bearer(who)),
        await client.get(own, headers=bearer(who)),
        await client.patch(own, json={"role": "admin"}, headers=bearer(who)),
    ):
        assert_problem(answer, 403, "forbidden")
    for method in ("GET", "PATCH"):
        assert (await client.request(method, own, json={})).status_code == 401


async def test_a_user_who_is_switched_off_is_out_and_comes_in_again_when_switched_on(
    client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    ada = await signed_up(client)
    answer = await change(client, root, ada, is_active=False)
    assert (answer.status_code, answer.json()) == (200, {**ada["user"], "is_active": False})
    assert await status_of(client, ada) == 401
    assert_problem(await refresh(client, ada["refresh_token"]), 401, "refresh_invalid")
    login = {"email": "ada@example.test", "password": PASSWORD}
    assert_problem(await client.post(f"{API}/sessions", json=login), 401, "invalid_credentials")
    assert (await change(client, root, ada, is_active=True)).status_code == 200
    assert await status_of(client, ada) == 401  # the old session stays ended
    assert await status_of(client, await logged_in(client)) == 200


async def test_a_role_changes_what_one_may_do_at_once(
    client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    ada = await signed_up(client)
    assert (await change(client, root, ada, role="admin")).json()["role"] == "admin"
    assert (await client.get(USERS, headers=bearer(ada))).status_code == 200
    assert (await change(client, ada, ada, role="readonly")).status_code == 200
    assert_problem(await client.get(USERS, headers=bearer(ada)), 403, "forbidden")
    renamed = await client.patch(f"{API}/users/me", json={"full_name": "A"}, headers=bearer(ada))
    assert_problem(renamed, 403, "forbidden")
    assert await status_of(client, ada) == 200


@pytest.mark.parametrize("body", [{"role": "user"}, {"role": "readonly"}, {"is_active": False}])
async def test_the_last_admin_stays(
    client: httpx.AsyncClient, root: dict[str, Any], body: dict[str, object]
) -> None:
    assert_problem(await change(client, root, root, **body), 409, "last_admin")
    assert await status_of(client, root) == 200
    assert (await change(client, root, root, role="admin", is_active=True)).status_code == 200


async def test_of_two_admins_who_demote_each_other_one_stays(
    app: FastAPI, client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    other = await of_role(app, client, Role.ADMIN, "other@example.test")
    answers = await asyncio.gather(
        change(client, root, other, role="user"), change(client, other, root, role="user")
    )
    assert await _admins(app) == 1
    assert {answer.status_code for answer in answers} <= {200, 401, 403, 409}


async def _admins(app: FastAPI) -> int:
    async with bank_of(app).database.view() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT count(*) FROM identity_users WHERE role = 'admin'"
        )
        return int(rows.scalar_one())


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("0198c6ba-0000-7000-8000-000000000000", {"role": "user"}, 404, "user_not_found"),
        ("x", {"role": "user"}, 404, "not_found"),
        ("", {"role": "king"}, 422, "validation_failed"),
        ("", {"role": 1}, 422, "validation_failed"),
        ("", {"is_active": "no"}, 422, "validation_failed"),
        ("", {"is_active": 0}, 422, "validation_failed"),
        ("", {"email": "x@y.test"}, 422, "validation_failed"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient,
    root: dict[str, Any],
    path: str,
    body: dict[str, object],
    status: int,
    code: str,
) -> None:
    ada = await signed_up(client)
    name = path or ada["user"]["id"]
    answer = await client.patch(f"{USERS}/{name}", json=body, headers=bearer(root))
    assert_problem(answer, status, code)
    if status == 404:
        answer = await client.get(f"{USERS}/{name}", headers=bearer(root))
        assert_problem(answer, 404, code)
    assert await status_of(client, ada) == 200


@pytest.mark.parametrize("body", [{}, {"role": None}, {"is_active": None, "role": None}])
async def test_a_change_of_nothing_answers_with_the_user_as_it_is(
    client: httpx.AsyncClient, root: dict[str, Any], body: dict[str, object]
) -> None:
    ada = await signed_up(client)
    answer = await change(client, root, ada, **body)
    assert (answer.status_code, answer.json()) == (200, ada["user"])
    nobody = {"user": {"id": "0198c6ba-0000-7000-8000-00000000abcd"}}
    assert_problem(await change(client, root, nobody, **body), 404, "user_not_found")
