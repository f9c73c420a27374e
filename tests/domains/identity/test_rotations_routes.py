"""Rotation after a breach over HTTP: by an admin alone, seen everywhere within a second."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.permissions import Role
from tests.support.app import app_on, started
from tests.support.constants import API
from tests.support.logins import (
    assert_problem,
    bearer,
    logged_in,
    of_role,
    refresh,
    signed_up,
    status_of,
)
from tests.support.sizes import postgres_in_ci

EVERYBODY = f"{API}/admin/security/rotations"
BREACH = {"reason": "A laptop was stolen"}


@pytest.fixture
async def root(app: FastAPI, client: httpx.AsyncClient) -> dict[str, Any]:
    return await of_role(app, client, Role.ADMIN, "root@example.test")


def of(user: dict[str, Any]) -> str:
    return f"{API}/admin/users/{user['user']['id']}/rotations"


async def rotate(
    client: httpx.AsyncClient, who: dict[str, Any], path: str, key: str = "", **body: object
) -> httpx.Response:
    headers = bearer(who) | ({"Idempotency-Key": key} if key else {})
    return await client.post(path, json=BREACH | body, headers=headers)


async def test_an_admin_rotates_everybody_and_is_out_as_well(
    client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    ada = await signed_up(client)
    answer = await rotate(client, root, EVERYBODY)
    body = answer.json()
    assert (answer.status_code, body["version"], body["user_id"]) == (201, 2, None)
    assert body["reason"] == BREACH["reason"]
    assert body["effective_at"] == body["created_at"]
    for who in (ada, root):
        assert await status_of(client, who) == 401
        assert_problem(await refresh(client, who["refresh_token"]), 401, "refresh_invalid")
    again = await logged_in(client)
    assert await status_of(client, again) == 200
    following = (await refresh(client, again["refresh_token"])).json()
    assert await status_of(client, following) == 200
    shown = (await client.get(f"{API}/sessions", headers=bearer(following))).json()["items"]
    assert [one["is_revoked"] for one in shown] == [False, True]


async def test_a_user_who_is_rotated_alone_signs_in_and_refreshes_at_once(
    client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    ada = await signed_up(client)
    answer = await rotate(client, root, of(ada))
    assert (answer.status_code, answer.json()["user_id"]) == (201, ada["user"]["id"])
    assert await status_of(client, ada) == 401
    assert_problem(await refresh(client, ada["refresh_token"]), 401, "refresh_invalid")
    again = await logged_in(client)
    assert await status_of(client, again) == 200
    following = await refresh(client, again["refresh_token"])
    assert following.status_code == 201
    assert await status_of(client, following.json()) == 200
    assert await status_of(client, root) == 200


@postgres_in_ci
@pytest.mark.parametrize("alone", [True, pytest.param(False, marks=pytest.mark.heavy)])
async def test_the_grace_passes(
    client: httpx.AsyncClient, root: dict[str, Any], alone: bool
) -> None:
    ada = await signed_up(client)
    answer = await rotate(client, root, of(ada) if alone else EVERYBODY, grace_seconds=2)
    assert answer.status_code == 201
    assert await status_of(client, ada) == 200
    thief = (await refresh(client, ada["refresh_token"])).json()
    assert await status_of(client, thief) == 200
    await asyncio.sleep(3.1)  # two seconds, and the one in which a proof is believed
    for old in (ada, thief):
        assert await status_of(client, old) == 401
        assert_problem(await refresh(client, old["refresh_token"]), 401, "refresh_invalid")
    assert await status_of(client, await logged_in(client)) == 200


@pytest.mark.parametrize("role", [Role.USER, Role.READONLY])
async def test_nobody_else_rotates(
    app: FastAPI, client: httpx.AsyncClient, root: dict[str, Any], role: Role
) -> None:
    eve = await of_role(app, client, role, "eve@example.test")
    for path in (EVERYBODY, of(eve), of(root)):
        assert_problem(await rotate(client, eve, path), 403, "forbidden")
        assert (await client.post(path, json=BREACH)).status_code == 401
    assert await status_of(client, root) == 200


async def test_a_repeated_request_rotates_once(
    client: httpx.AsyncClient, root: dict[str, Any]
) -> None:
    ada = await signed_up(client)
    for path in (of(ada), EVERYBODY):
        first = await rotate(client, root, path, key=f"k {path}")
        if path == EVERYBODY:
            root = await logged_in(client, "root@example.test")
        ada = await logged_in(client)
        again = await rotate(client, root, path, key=f"k {path}")
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        assert await status_of(client, ada) == 200
        other = await rotate(client, root, path, key=f"k {path}", reason="Another")
        assert_problem(other, 422, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": ""}, "/reason"),
        ({"reason": "   "}, "/reason"),
        ({"reason": "x" * 256}, "/reason"),
        ({"reason": None}, "/reason"),
        ({"grace_seconds": -1}, "/grace_seconds"),
        ({"grace_seconds": 86_401}, "/grace_seconds"),
        ({"grace_seconds": 1.5}, "/grace_seconds"),
        ({"grace_seconds": "60"}, "/grace_seconds"),
        ({"grace_seconds": True}, "/grace_seconds"),
        ({"version": 7}, "/version"),
    ],
)
async def test_a_rotation_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, root: dict[str, Any], body: dict[str, Any], pointer: str
) -> None:
    for path in (EVERYBODY, of(root)):
        answer = await rotate(client, root, path, **body)
        assert_problem(answer, 422, "validation_failed", pointer)
    nobody = f"{API}/admin/users/{uuid4()}/rotations"
    assert_problem(await rotate(client, root, nobody), 404, "user_not_found")
    assert_problem(await client.post(EVERYBODY, json={}, headers=bearer(root)), 422,
                   "validation_failed", "/reason")  # fmt: skip
    assert await status_of(client, root) == 200


@postgres_in_ci
@pytest.mark.parametrize("alone", [True, pytest.param(False, marks=pytest.mark.heavy)])
async def test_a_rotation_is_seen_within_a_second_in_every_process(
    database_url: str, tmp_path: Path, alone: bool
) -> None:
    app = app_on(database_url, tmp_path)
    async with started(app) as here, started(app_on(database_url, tmp_path)) as there:
        root = await of_role(app, here, Role.ADMIN, "root@example.test")
        ada = await signed_up(here)
        assert await status_of(there, ada) == 200
        answer = await rotate(here, root, of(ada) if alone else EVERYBODY)
        assert answer.status_code == 201
        assert await status_of(here, ada) == 401
        await asyncio.sleep(1.0)
        assert await status_of(there, ada) == 401
        assert await status_of(there, await logged_in(there)) == 200
