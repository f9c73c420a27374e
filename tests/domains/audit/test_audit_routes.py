"""The audit trail as an admin browses it, and nobody else."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.clock import iso_instant
from guilder.core.permissions import Role
from tests.db import owner
from tests.support.app import bank_of
from tests.support.constants import API
from tests.support.logins import Login, bearer, of_role

EVENTS = f"{API}/admin/audit-events"
FIELDS = {
    "id", "number", "at", "attempt_id", "action", "phase", "actor", "session_id", "subject",
    "code", "request_id", "ip_address", "detail",
}  # fmt: skip


async def log_in(client: httpx.AsyncClient, email: str, password: str) -> httpx.Response:
    return await client.post(f"{API}/sessions", json={"email": email, "password": password})


@pytest.fixture
async def root(app: FastAPI, client: httpx.AsyncClient) -> Login:
    return await of_role(app, client, Role.ADMIN, "root@example.test")


@pytest.fixture
async def ada(app: FastAPI, client: httpx.AsyncClient, root: Login) -> Login:
    return await of_role(app, client, Role.USER, "ada@example.test")


async def page(client: httpx.AsyncClient, who: Login, **query: object) -> dict[str, Any]:
    params = {name.rstrip("_"): str(value) for name, value in query.items()}
    answer = await client.get(EVENTS, params=params, headers=bearer(who))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def events(client: httpx.AsyncClient, who: Login, **query: object) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await page(client, who, limit=100, **query))["items"]
    return items


async def test_the_trail_is_shown_newest_first(
    client: httpx.AsyncClient, root: Login, ada: Login
) -> None:
    created = await client.post(
        f"{API}/accounts", json={"type": "checking", "currency": "EUR"},
        headers={**bearer(ada), "X-Request-Id": "by-ada"},
    )  # fmt: skip
    newest, attempt, *older = await events(client, root)
    assert newest.keys() == FIELDS
    assert newest == {
        "id": newest["id"], "number": attempt["number"] + 1, "at": newest["at"],
        "attempt_id": attempt["attempt_id"], "action": "account.open", "phase": "succeeded",
        "actor": f"user:{ada['user']['id']}", "session_id": ada["session"]["id"],
        "subject": created.json()["id"], "code": None, "request_id": "by-ada",
        "ip_address": newest["ip_address"], "detail": None,
    }  # fmt: skip
    assert (attempt["phase"], attempt["subject"]) == ("attempted", None)
    numbers = [event["number"] for event in (newest, attempt, *older)]
    assert numbers == list(range(len(numbers), 0, -1))
    assert newest["ip_address"] == ada["session"]["ip_address"] != ""
    again = await events(client, root)
    assert [event["id"] for event in again] == [event["id"] for event in (newest, attempt, *older)]
    assert len({event["id"] for event in again}) == len(again)


async def test_pages_follow_each_other(client: httpx.AsyncClient, ada: Login, root: Login) -> None:
    whole = await events(client, root)
    found: list[dict[str, Any]] = []
    query: dict[str, object] = {}
    while True:
        part = await page(client, root, limit=3, **query)
        found += part["items"]
        assert part["has_more"] is (part["next_cursor"] is not None)
        if not part["has_more"]:
            break
        query = {"cursor": part["next_cursor"]}
    assert found == whole
    assert len(whole) > 6
    assert (await page(client, root, limit=2, offset=1))["items"] == whole[1:3]


async def test_every_filter_alone_and_with_others(
    client: httpx.AsyncClient, root: Login, ada: Login
) -> None:
    user = f"{API}/admin/users/{ada['user']['id']}"
    await client.patch(user, json={"role": "readonly"}, headers=bearer(root))
    await client.patch(
        f"{API}/admin/users/{root['user']['id']}", json={"role": "user"}, headers=bearer(root)
    )
    whole = await events(client, root)
    middle = whole[len(whole) // 2]["at"]
    admin = f"user:{root['user']['id']}"
    filters: dict[str, tuple[object, Callable[[dict[str, Any]], bool]]] = {
        "actor": (admin, lambda e: e["actor"] == admin),
        "action": ("user.change_access", lambda e: e["action"] == "user.change_access"),
        "phase": ("failed", lambda e: e["phase"] == "failed"),
        "subject": (root["user"]["id"], lambda e: e["subject"] == root["user"]["id"]),
        "from_": (middle, lambda e: e["at"] >= middle),
        "to": (middle, lambda e: e["at"] < middle),
    }
    for chosen in range(1, 1 << len(filters)):
        names = [name for bit, name in enumerate(filters) if chosen >> bit & 1]
        wanted = [e for e in whole if all(filters[name][1](e) for name in names)]
        query = {name: filters[name][0] for name in names}
        assert await events(client, root, **query) == wanted, names
        assert len(names) > 1 or wanted, f"{names} finds nothing and shows nothing"
    failed = await events(client, root, phase="failed")
    assert [(e["code"], e["subject"]) for e in failed] == [("last_admin", root["user"]["id"])]
    for phase in ("attempted", "succeeded"):
        assert await events(client, root, phase=phase) == [e for e in whole if e["phase"] == phase]


async def test_dates_bound_whole_days(client: httpx.AsyncClient, root: Login, app: FastAPI) -> None:
    whole = await events(client, root)
    now_us = bank_of(app).clock.now_us()
    day = 86_400_000_000
    today, tomorrow, yesterday = (iso_instant(now_us + n * day)[:10] for n in (0, 1, -1))
    assert await events(client, root, from_=yesterday, to=tomorrow) == whole
    assert await events(client, root, from_=tomorrow) == []
    assert await events(client, root, to=yesterday) == [e for e in whole if e["at"] < today]


@pytest.mark.parametrize("role", [Role.USER, Role.READONLY])
async def test_nobody_else_sees_it(app: FastAPI, client: httpx.AsyncClient, role: Role) -> None:
    who = await of_role(app, client, role, "eve@example.test")
    answer = await client.get(EVENTS, headers=bearer(who))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    answer = await client.get(EVENTS)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_whose_login_fails_is_seen_and_what_was_guessed_is_not(
    client: httpx.AsyncClient, root: Login, ada: Login, database_url: str
) -> None:
    for number in range(5):
        answer = await log_in(client, "Ada@example.test", f"guessed password {number}")
        assert answer.status_code == 401
    await log_in(client, "stranger@example.test", "guessed password")
    refused = await events(client, root, action="session.open", phase="failed")
    subjects = [(e["subject"], e["detail"]) for e in refused]
    hers = ada["user"]["id"]
    assert subjects == [
        (None, {"locked": False}), (hers, {"locked": True}), *[(hers, {"locked": False})] * 4,
    ]  # fmt: skip
    assert {e["actor"] for e in refused} == {"anonymous"}
    stored = str(await owner.rows(database_url, "SELECT * FROM audit_events")).lower()
    for secret in ("stranger", "ada@", "guessed", "battery"):
        assert secret not in stored


async def test_a_wrong_present_password_is_seen(
    client: httpx.AsyncClient, root: Login, ada: Login
) -> None:
    body = {"current_password": "guessed password", "new_password": "another good one"}
    answer = await client.put(f"{API}/users/me/password", json=body, headers=bearer(ada))
    assert answer.status_code == 403
    (refused,) = await events(client, root, subject=ada["user"]["id"], phase="failed")
    assert (refused["action"], refused["code"]) == ("user.change_password", "wrong_password")
    assert refused["actor"] == f"user:{ada['user']['id']}"


async def test_sessions_are_found_by_their_user(
    client: httpx.AsyncClient, root: Login, ada: Login
) -> None:
    token = {"refresh_token": ada["refresh_token"]}
    assert (await client.post(f"{API}/tokens", json=token)).status_code == 201
    hers = await events(client, root, subject=ada["user"]["id"])
    session = {"session": ada["session"]["id"]}
    opened = {**session, "factors": ["password"]}
    assert [(e["action"], e["detail"]) for e in hers] == [
        ("session.refresh", session), ("session.open", opened), ("user.create", {"role": "user"}),
    ]  # fmt: skip


async def test_a_changed_role_is_told_with_what_it_was(
    client: httpx.AsyncClient, root: Login, ada: Login
) -> None:
    user = f"{API}/admin/users/{ada['user']['id']}"
    for body in ({"role": "readonly"}, {"is_active": False}, {"is_active": False}):
        assert (await client.patch(user, json=body, headers=bearer(root))).status_code == 200
    last, off, role = await events(
        client, root, action="user.change_access", phase="succeeded", subject=ada["user"]["id"]
    )
    assert role["detail"]["changed"] == {"role": ["user", "readonly"]}
    assert off["detail"]["changed"] == {"is_active": [True, False]}
    assert last["detail"]["changed"] == {}
    assert role["detail"]["hash_before"] != role["detail"]["hash_after"]
    assert role["detail"]["hash_after"] == off["detail"]["hash_before"]
    assert last["detail"]["hash_before"] == last["detail"]["hash_after"]
    missing = f"{API}/admin/users/0198c6ba-0000-7000-8000-000000000000"
    await client.patch(missing, json={"role": "user"}, headers=bearer(root))
    (failed,) = await events(client, root, phase="failed")
    assert (failed["code"], failed["subject"]) == ("user_not_found", missing.rpartition("/")[2])


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("who=x", 400, "unknown_parameter"),
        ("Actor=x", 400, "unknown_parameter"),
        ("phase=tried", 422, "validation_failed"),
        ("phase=", 422, "validation_failed"),
        ("phase=FAILED", 422, "validation_failed"),
        ("from=yesterday", 422, "validation_failed"),
        ("from=2026-02-30", 422, "validation_failed"),
        ("from=2026-01-01T00:00:00", 422, "validation_failed"),
        ("to=99999999999999999999", 422, "validation_failed"),
        ("from=NaN", 422, "validation_failed"),
        ("limit=0", 422, "validation_failed"),
        ("limit=101", 422, "validation_failed"),
        ("limit=1e2", 422, "validation_failed"),
        ("offset=-1", 422, "validation_failed"),
        (f"actor={'x' * 101}", 422, "validation_failed"),
        (f"action={'x' * 5000}", 422, "validation_failed"),
        ("subject=%1b%5b2J", 422, "validation_failed"),
        ("subject=%E2%80%AE", 422, "validation_failed"),
        ("subject=%00", 400, None),
        ("actor=%ff%fe", None, None),
        ("actor=%ED%A0%80", None, None),
        ("cursor=nonsense", 400, "invalid_cursor"),
        ("cursor=MTAuMTA", 400, "invalid_cursor"),  # 10.10, as nobody is given it
        ("cursor=MS4x&offset=1", 422, "validation_failed"),
        (f"actor={quote("' OR 1=1 --")}", 200, None),
        (f"action={quote('%')}", 200, None),
        ("subject=", 200, None),
        ("from=0001-01-01", 200, None),
        ("to=9999-12-31", None, None),
        ("from=2027-01-01&to=2026-01-01", 200, None),
    ],
)  # fmt: skip
async def test_hostile_and_foolish_queries(
    client: httpx.AsyncClient, root: Login, query: str, status: int | None, code: str | None
) -> None:
    answer = await client.get(f"{EVENTS}?{query}", headers=bearer(root))
    assert answer.status_code in ({200, 400, 422} if status is None else {status}), answer.text
    if code is not None:
        assert answer.json()["code"] == code
    if quote("' OR") in query or quote("%") in query or query == "subject=":
        assert answer.json()["items"] == []
