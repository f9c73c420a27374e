"""OAuth2 where tokens are given out, as RFC 6749, 7009 and 8414 have it."""

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from tests.support.app import bank_of
from tests.support.constants import API, EMAIL, PASSWORD
from tests.support.declared import document
from tests.support.logins import bearer, signed_up

DOORS = ("/auth/login", f"{API}/auth/login", f"{API}/tokens")
ASCII = re.compile(r"[ !#-\[\]-~]+")
"""What RFC 6749 allows in a description: no quote, no backslash."""


def assert_oauth(answer: httpx.Response, error: str, code: str) -> dict[str, Any]:
    """A refusal with the members of OAuth2 beside those of the problem."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"]) == (400, 400), answer.text
    assert (body["error"], body["code"]) == (error, code)
    assert ASCII.fullmatch(body["error_description"])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in answer.headers
    return body


def refresh_form(token: object, **more: object) -> dict[str, object]:
    return {"grant_type": "refresh_token", "refresh_token": token, **more}


@pytest.mark.parametrize("door", DOORS)
async def test_a_form_refreshes_at_every_door(client: httpx.AsyncClient, door: str) -> None:
    login = await signed_up(client)
    form = refresh_form(login["refresh_token"], scope="", client_id="app", resource="x")
    answer = await client.post(door, data=form)
    assert answer.status_code == 200, answer.text
    new = answer.json()
    assert (new["token_type"], new["expires_in"]) == ("bearer", 900)
    assert new["refresh_token"] != login["refresh_token"]
    assert (await client.get(f"{API}/users/me", headers=bearer(new))).status_code == 200
    await client.post(f"{API}/tokens", json={"refresh_token": new["refresh_token"]})
    again = await client.post(door, data=refresh_form(login["refresh_token"]))
    assert_oauth(again, "invalid_grant", "refresh_reused")


async def test_json_refreshes_as_ever(client: httpx.AsyncClient) -> None:
    login = await signed_up(client)
    token = {"refresh_token": login["refresh_token"]}
    assert (await client.post(f"{API}/tokens", json=token)).status_code == 201
    unknown = await client.post(f"{API}/tokens", json={"refresh_token": "unknown"})
    assert (unknown.status_code, unknown.json()["code"]) == (401, "refresh_invalid")
    assert unknown.json()["error"] == "invalid_grant"
    odd = await client.post(f"{API}/tokens", json={**token, "resource": "x"})
    assert (odd.status_code, odd.json()["errors"][0]["code"]) == (422, "unknown_field")


async def test_a_password_grant_is_refused_as_oauth_says(client: httpx.AsyncClient) -> None:
    await signed_up(client)
    form = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
    good = await client.post("/auth/login", data=form | {"refresh_token": "", "client_id": ""})
    assert good.status_code == 200
    wrong = form | {"password": "wrong horse battery"}
    told = assert_oauth(
        await client.post("/auth/login", data=wrong), "invalid_grant", "invalid_credentials"
    )
    assert told["error_description"] == told["detail"]
    simple = {name: value for name, value in wrong.items() if name != "grant_type"}
    plain = await client.post("/auth/login", data=simple)
    assert (plain.status_code, plain.json()["error"]) == (401, "invalid_grant")
    for _ in range(4):
        await client.post("/auth/login", data=wrong)
    locked = await client.post("/auth/login", data=form)
    assert_oauth(locked, "invalid_grant", "account_locked")


@pytest.mark.parametrize(
    ("form", "error", "code"),
    [
        ({"grant_type": "implicit"}, "unsupported_grant_type", "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_request", "validation_failed"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request",
         "validation_failed"),
        ({"grant_type": "password", "username": "a"}, "invalid_request", "validation_failed"),
        ({"grant_type": ["password", "password"]}, "invalid_request", "duplicate_parameter"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant",
         "refresh_invalid"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_request_is_told_in_the_words_of_oauth(
    client: httpx.AsyncClient, form: dict[str, Any], error: str, code: str
) -> None:
    assert_oauth(await client.post("/auth/login", data=form), error, code)


async def test_a_grant_that_a_door_does_not_take_is_told(client: httpx.AsyncClient) -> None:
    form = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}
    answer = await client.post(f"{API}/tokens", data=form)
    assert_oauth(answer, "unsupported_grant_type", "unsupported_grant_type")


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_a_revoked_token_ends_its_session_alone(client: httpx.AsyncClient, kind: str) -> None:
    login = await signed_up(client)
    other = await client.post("/auth/login", data={"username": EMAIL, "password": PASSWORD})
    form = {"token": login[kind], "token_type_hint": kind, "unknown": "x"}
    for _ in range(2):
        answer = await client.post("/auth/revoke", data=form)
        assert (answer.status_code, answer.content) == (200, b"")
    assert (await client.get(f"{API}/users/me", headers=bearer(login))).status_code == 401
    refreshed = await client.post("/auth/login", data=refresh_form(login["refresh_token"]))
    assert_oauth(refreshed, "invalid_grant", "refresh_invalid")
    assert (await client.get(f"{API}/users/me", headers=bearer(other.json()))).status_code == 200


async def test_a_token_that_is_unknown_is_revoked_without_a_trace(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    count = text("SELECT count(*) FROM audit_events")
    async with bank_of(app).database.view() as connection:
        before = (await connection.execute(count)).scalar_one()
    for token in ("unknown", "eyJ9.e30.c2ln", "x" * 4096):
        assert (await client.post("/auth/revoke", data={"token": token})).status_code == 200
    assert_oauth(
        await client.post("/auth/revoke", data={"x": "y"}), "invalid_request", "validation_failed"
    )
    async with bank_of(app).database.view() as connection:
        assert (await connection.execute(count)).scalar_one() == before


async def test_clients_find_out_what_the_bank_can_do(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    told = (await client.get("/.well-known/oauth-authorization-server")).json()
    assert told["issuer"] == bank_of(app).settings.address
    assert told["token_endpoint"] == told["issuer"] + f"{API}/auth/login"
    assert told["revocation_endpoint"] == told["issuer"] + f"{API}/auth/revoke"
    assert set(told["grant_types_supported"]) == {"password", "refresh_token"}
    flow = document()["components"]["securitySchemes"]["OAuth2Password"]["flows"]["password"]
    assert flow["refreshUrl"] == flow["tokenUrl"] == f"{API}/auth/login"
