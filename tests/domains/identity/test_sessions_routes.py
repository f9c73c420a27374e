"""Sessions over HTTP: seen, refreshed, ended, and what their tokens are good for afterwards."""

import asyncio
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.app import app_on, started
from tests.support.constants import ADA, API, PASSWORD
from tests.support.logins import assert_problem, bearer, logged_in, refresh, signed_up, status_of
from tests.support.mmdb import write_places

SESSION_FIELDS = {
    "id", "device_info", "ip_address", "location", "created_at", "last_activity_at", "expires_at",
    "is_current", "is_revoked",
}  # fmt: skip


async def test_sessions_are_listed_and_shown(client: httpx.AsyncClient) -> None:
    first = await signed_up(client)
    second = await logged_in(client)
    page = (await client.get(f"{API}/sessions", headers=bearer(second))).json()
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    newest, oldest = page["items"]
    assert newest.keys() == SESSION_FIELDS
    assert newest == second["session"]
    assert oldest == {**first["session"], "is_current": False}
    shown = await client.get(f"{API}/sessions/{oldest['id']}", headers=bearer(first))
    assert (shown.status_code, shown.json()) == (200, first["session"])


async def test_a_session_shows_where_it_was_opened_also_when_the_database_is_gone(
    database_url: str, tmp_path: Path
) -> None:
    place = {"city": {"names": {"en": "Amsterdam"}}, "country": {"names": {"en": "Netherlands"}}}
    path = write_places(tmp_path / "places.mmdb", {"77.160.0.0/16": place})
    behind: dict[str, object] = {"trusted_proxies": ("127.0.0.1",)}
    there = {"X-Forwarded-For": "77.160.1.2"}
    seen: list[str | None] = []
    for settings in (behind | {"geoip_database": path}, behind):
        async with started(app_on(database_url, tmp_path, **settings)) as client:
            if not seen:
                client.headers.update(there)
                up = await client.post("/auth/signup", json=ADA)
                assert up.status_code == 201
            last = await logged_in(client)
            client.headers.pop("X-Forwarded-For", None)
            here = await logged_in(client)
            page = (await client.get(f"{API}/sessions", headers=bearer(last))).json()
            seen = [one["location"] for one in page["items"]]
            assert last["session"]["location"] == seen[1]
            assert here["session"]["location"] is None
    assert seen == [None, None, None, "Amsterdam, Netherlands", "Amsterdam, Netherlands"]


async def test_the_session_of_another_is_not_found(client: httpx.AsyncClient) -> None:
    ada, eve = await signed_up(client), await signed_up(client, "eve@example.test")
    for method in ("GET", "DELETE"):
        for name in (ada["session"]["id"], uuid4()):
            answer = await client.request(method, f"{API}/sessions/{name}", headers=bearer(eve))
            assert_problem(answer, 404, "session_not_found")
    assert await status_of(client, ada) == 200


async def test_logging_out_ends_the_session_at_once(client: httpx.AsyncClient) -> None:
    ada = await signed_up(client)
    answer = await client.delete(f"{API}/sessions/current", headers=bearer(ada))
    assert (answer.status_code, answer.content) == (204, b"")
    assert await status_of(client, ada) == 401
    assert_problem(await refresh(client, ada["refresh_token"]), 401, "refresh_invalid")


async def test_ended_sessions_are_gone_at_once_and_shown_as_revoked(
    client: httpx.AsyncClient,
) -> None:
    ada, *others = await signed_up(client), *[await logged_in(client) for _ in range(3)]
    for session in (ada, *others):
        assert await status_of(client, session) == 200
    gone = others.pop()
    path = f"{API}/sessions/{gone['session']['id']}"
    assert (await client.delete(path, headers=bearer(ada))).status_code == 204
    assert await status_of(client, gone) == 401
    assert await status_of(client, others[0]) == 200
    assert (await client.delete(f"{API}/sessions", headers=bearer(ada))).status_code == 204
    assert [await status_of(client, one) for one in (ada, *others)] == [200, 401, 401]
    items = (await client.get(f"{API}/sessions", headers=bearer(ada))).json()["items"]
    assert [one["is_revoked"] for one in items] == [True, True, True, False]
    assert [one["is_current"] for one in items] == [False, False, False, True]


async def test_a_revocation_is_seen_within_a_second_in_every_process(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        started(app_on(database_url, tmp_path)) as here,
        started(app_on(database_url, tmp_path)) as there,
    ):
        ada, gone = await signed_up(here), await logged_in(here)
        assert await status_of(there, gone) == 200
        path = f"{API}/sessions/{gone['session']['id']}"
        assert (await here.delete(path, headers=bearer(ada))).status_code == 204
        await asyncio.sleep(1.0)
        assert await status_of(there, gone) == 401
        assert await status_of(there, ada) == 200


async def test_a_refresh_token_gives_the_next_pair(client: httpx.AsyncClient) -> None:
    ada = await signed_up(client)
    answer = await refresh(client, ada["refresh_token"])
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    following = answer.json()
    assert following.keys() == ada.keys()
    assert following["session"]["id"] == ada["session"]["id"]
    assert following["refresh_token"] != ada["refresh_token"]
    assert await status_of(client, following) == 200
    again = await refresh(client, ada["refresh_token"])
    assert (again.status_code, again.json()) == (201, following)  # asked twice
    third = await refresh(client, following["refresh_token"])
    assert third.status_code == 201
    reused = await refresh(client, ada["refresh_token"])
    assert_problem(reused, 401, "refresh_reused")
    assert reused.headers["www-authenticate"]
    assert_problem(await refresh(client, third.json()["refresh_token"]), 401, "refresh_invalid")


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        ("nobody's", 401, "refresh_invalid"),
        ("", 422, "validation_failed"),
        ("x" * 4_096, 401, "refresh_invalid"),
        ("x" * 4_097, 422, "validation_failed"),
        (None, 422, "validation_failed"),
        (7, 422, "validation_failed"),
    ],
)
async def test_what_is_no_refresh_token_is_refused(
    client: httpx.AsyncClient, token: object, status: int, code: str
) -> None:
    answer = await refresh(client, token)
    assert_problem(answer, status, code)
    assert "nobody's" not in answer.text


async def test_users_see_and_rename_themselves(client: httpx.AsyncClient) -> None:
    ada = await signed_up(client)
    me = await client.get(f"{API}/users/me", headers=bearer(ada))
    assert (me.status_code, me.json()) == (200, ada["user"])
    for name, stored in ((" Ada King ", "Ada King"), (None, None)):
        answer = await client.patch(
            f"{API}/users/me", json={"full_name": name}, headers=bearer(ada)
        )
        assert (answer.status_code, answer.json()) == (200, {**ada["user"], "full_name": stored})
    for body in ({}, {"full_name": "a\u0007b"}, {"full_name": "A", "role": "admin"}):
        answer = await client.patch(f"{API}/users/me", json=body, headers=bearer(ada))
        assert_problem(answer, 422, "validation_failed")


async def test_the_password_is_changed(client: httpx.AsyncClient) -> None:
    ada, other = await signed_up(client), await logged_in(client)
    path, new = f"{API}/users/me/password", "another good password"

    async def change(present: object, wanted: object) -> httpx.Response:
        body = {"current_password": present, "new_password": wanted}
        return await client.put(path, json=body, headers=bearer(ada))

    assert_problem(await change("wrong horse battery", new), 403, "wrong_password")
    assert_problem(await change(PASSWORD, "short"), 422, "weak_password", "/new_password")
    assert_problem(await change(PASSWORD, 7), 422, "validation_failed", "/new_password")
    assert await status_of(client, other) == 200
    assert (await change(PASSWORD, new)).status_code == 204
    assert [await status_of(client, one) for one in (ada, other)] == [200, 401]
    assert_problem(await client.post(f"{API}/sessions", json=ADA), 401, "invalid_credentials")
    answer = await client.post(f"{API}/sessions", json={**ADA, "password": new})
    assert answer.status_code == 201
