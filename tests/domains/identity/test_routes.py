"""Signing up and in over HTTP."""

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from tests.support.app import bank_of
from tests.support.asking import JSON, ask
from tests.support.constants import PASSWORD
from tests.support.logins import assert_problem

ADA = {"email": "Ada@Example.test", "password": PASSWORD}
USER_FIELDS = {
    "id", "email", "full_name", "role", "is_active", "email_verified", "created_at",
}  # fmt: skip
FORM = {"content-type": "application/x-www-form-urlencoded"}
AUTH = ["/auth", "/api/v1/auth"]


async def sign_up(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/users", json={**ADA, **body})
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json()
    return user


async def test_a_user_is_created(client: httpx.AsyncClient) -> None:
    user = await sign_up(client, full_name="  Ada  Lovelace ")
    assert user.keys() == USER_FIELDS
    UUID(user["id"])
    assert user["email"] == "Ada@example.test"
    assert user["full_name"] == "Ada  Lovelace"
    assert (user["role"], user["is_active"], user["email_verified"]) == ("user", True, False)
    assert user["created_at"].endswith("Z")


async def test_the_slash_at_the_end_makes_no_difference(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/users/", json=ADA)
    assert answer.status_code == 201


async def test_a_taken_address_is_refused_in_any_spelling(client: httpx.AsyncClient) -> None:
    await sign_up(client)
    for email in ("Ada@Example.test", "ADA@EXAMPLE.TEST", " ada@example.test "):
        answer = await client.post("/api/v1/users", json={**ADA, "email": email})
        assert_problem(answer, 409, "email_taken")


async def test_a_key_of_one_address_tells_another_nothing(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    """Two who have not signed in may choose the same key; only their addresses tell them apart."""
    body, headers = json.dumps(ADA).encode(), [*JSON, (b"idempotency-key", b"1")]
    told = [
        await ask(app, "POST", "/api/v1/users", headers, body, client=address)
        for address in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "2001:db8::7")
    ]
    assert [answer.status for answer in told] == [201, 201, 409, 409]
    assert told[1].header("idempotency-replayed") == "true"
    assert {answer.code for answer in told[2:]} == {"email_taken"}


async def test_another_password_under_the_key_is_another_request(
    client: httpx.AsyncClient,
) -> None:
    key = {"Idempotency-Key": "1"}
    first = await client.post("/api/v1/users", json=ADA, headers=key)
    again = await client.post("/api/v1/users", json={"full_name": None, **ADA}, headers=key)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    other = {**ADA, "password": PASSWORD + "!"}
    answer = await client.post("/api/v1/users", json=other, headers=key)
    assert_problem(answer, 422, "idempotency_conflict")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x@faß.example", "x@fass.example"),
        ("straße@example.test", "strasse@example.test"),
        ("\ufb01@example.test", "fi@example.test"),
    ],
)
async def test_two_mailboxes_are_two_users(client: httpx.AsyncClient, one: str, other: str) -> None:
    for email in (one, other):
        answer = await client.post("/api/v1/users", json={**ADA, "email": email})
        assert (answer.status_code, answer.json()["email"]) == (201, email)
    for email in (one, other):
        answer = await client.post("/api/v1/sessions", json={**ADA, "email": email})
        assert (answer.status_code, answer.json()["user"]["email"]) == (201, email)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"password": "short"}, "weak_password", "/password"),
        ({"password": "x" * 129}, "weak_password", "/password"),
        ({"password": "ada@example.test"}, "weak_password", "/password"),
        ({"password": "x" * 1025}, "validation_failed", "/password"),
        ({"password": 123456789012}, "validation_failed", "/password"),
        ({"password": None}, "validation_failed", "/password"),
        ({"email": "ada"}, "validation_failed", "/email"),
        ({"email": "ada@localhost"}, "validation_failed", "/email"),
        ({"email": "a b@example.test"}, "validation_failed", "/email"),
        ({"email": "x" * 250 + "@example.test"}, "validation_failed", "/email"),
        ({"email": "x" * 65 + "@example.test"}, "validation_failed", "/email"),
        ({"email": ["ada@example.test"]}, "validation_failed", "/email"),
        ({"full_name": ""}, "validation_failed", "/full_name"),
        ({"full_name": "x" * 101}, "validation_failed", "/full_name"),
        ({"full_name": "a\u0007b"}, "validation_failed", "/full_name"),
        ({"role": "admin"}, "validation_failed", "/role"),
        ({"is_active": True}, "validation_failed", "/is_active"),
    ],
)
async def test_what_breaks_a_rule_is_refused_and_nobody_made(
    client: httpx.AsyncClient, body: dict[str, Any], code: str, pointer: str
) -> None:
    for path in ("/api/v1/users", "/auth/signup"):
        assert_problem(await client.post(path, json={**ADA, **body}), 422, code, pointer)
    await sign_up(client)


@pytest.mark.parametrize("path", ["/api/v1/users", "/auth/signup"])
async def test_of_those_who_sign_up_together_with_one_address_one_wins(
    client: httpx.AsyncClient, path: str
) -> None:
    answers = await asyncio.gather(*(client.post(path, json=ADA) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11


async def test_the_same_key_gives_the_same_user_again(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await client.post("/api/v1/users", json=ADA, headers=key)
    again = await client.post("/api/v1/users", json=ADA, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post(
        "/api/v1/users", json={**ADA, "email": "eve@example.test"}, headers=key
    )
    assert_problem(other, 422, "idempotency_conflict")


async def test_a_session_is_opened(client: httpx.AsyncClient) -> None:
    user = await sign_up(client)
    answer = await client.post(
        "/api/v1/sessions", json=ADA, headers={"User-Agent": "Browser 1.0 \x7f" + "x" * 300}
    )
    assert answer.status_code == 201
    body = answer.json()
    assert body.keys() == {
        "access_token", "refresh_token", "token_type", "expires_in", "session", "user",
    }  # fmt: skip
    assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
    assert body["user"] == user
    session = body["session"]
    assert session["device_info"].startswith("Browser 1.0 xxx")
    assert len(session["device_info"]) <= 200
    assert session["ip_address"] == "127.0.0.1"
    assert (session["is_current"], session["is_revoked"]) == (True, False)
    assert session["created_at"] < session["expires_at"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/v1/sessions", "/auth/login"])
async def test_known_and_unknown_addresses_are_refused_alike(
    client: httpx.AsyncClient, path: str
) -> None:
    await sign_up(client)
    told = []
    for email, password in (
        ("ada@example.test", "wrong horse battery"),
        ("eve@example.test", PASSWORD),
        ("no address", PASSWORD),
        ("ada@example.test", ""),
        ("ada@example.test", "x" * 1000),
    ):
        answer = await client.post(path, json={"email": email, "password": password})
        assert_problem(answer, 401, "invalid_credentials")
        assert answer.headers["www-authenticate"]
        told.append({**answer.json(), "request_id": ""})
    assert all(one == told[0] for one in told)


@pytest.mark.parametrize("prefix", AUTH)
async def test_the_password_flow_by_form(client: httpx.AsyncClient, prefix: str) -> None:
    signed_up = await client.post(f"{prefix}/signup", json={**ADA, "full_name": "Ada"})
    assert signed_up.status_code == 201
    new = signed_up.json()
    assert new.keys() == USER_FIELDS | {
        "access_token", "refresh_token", "token_type", "expires_in",
    }  # fmt: skip
    answer = await client.post(
        f"{prefix}/login",
        data={
            "grant_type": "password",
            "username": "ada@example.test",
            "password": PASSWORD,
            "scope": "",
            "client_id": "",
            "client_secret": "",
        },
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert body["user"] == {name: new[name] for name in USER_FIELDS}
    assert body["token_type"] == "bearer"


@pytest.mark.parametrize("prefix", AUTH)
async def test_the_password_flow_by_json(client: httpx.AsyncClient, prefix: str) -> None:
    await client.post(f"{prefix}/signup", json=ADA)
    for name in ("username", "email"):
        answer = await client.post(
            f"{prefix}/login", json={name: ADA["email"], "password": PASSWORD}
        )
        assert answer.status_code == 200, answer.text


async def test_signing_up_by_form(client: httpx.AsyncClient) -> None:
    answer = await client.post("/auth/signup", data={**ADA, "full_name": "Ada Ł"})
    assert (answer.status_code, answer.json()["full_name"]) == (201, "Ada Ł")


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"username=a&password=b&admin=1", FORM, 401, "invalid_credentials"),
        (b"username=a", FORM, 422, "validation_failed"),
        (b"password=a", FORM, 422, "validation_failed"),
        (b"username=a&email=a&password=b", FORM, 422, "validation_failed"),
        (b"username=a&password=b&grant_type=implicit", FORM, 400, "unsupported_grant_type"),
        (b"username=a&username=b&password=c", FORM, 400, "duplicate_parameter"),
        (b"&".join(b"a%d=1" % i for i in range(30)), FORM, 400, "bad_request"),
        (b"username=%00&password=b", FORM, 400, "invalid_text"),
        (b"username=%ff&password=b", FORM, 400, "invalid_text"),
        (b"username=\xff&password=b", FORM, 400, "invalid_text"),
        (b"", FORM, 422, "validation_failed"),
        (b'{"username": "a"', {"content-type": "application/json"}, 400, "malformed_json"),
        (b'{"a": 1, "a": 2}', {"content-type": "application/json"}, 400, "duplicate_key"),
        (b"[]", {"content-type": "application/json"}, 422, "validation_failed"),
        (b"null", {"content-type": "application/json"}, 422, "validation_failed"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (b"x" * 1_000_001, FORM, 413, "body_too_large"),
    ],
)
async def test_a_login_that_cannot_be_read_is_refused(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    assert_problem(await client.post("/auth/login", content=content, headers=headers), status, code)


async def test_an_unknown_query_parameter_is_refused(client: httpx.AsyncClient) -> None:
    assert_problem(await client.post("/auth/login?x=1", json={}), 400, "unknown_parameter")


async def test_the_token_proves_the_user(app: FastAPI, client: httpx.AsyncClient) -> None:
    body = (await client.post("/auth/signup", json=ADA)).json()
    principal = await bank_of(app).tokens.authenticate(body["access_token"])
    assert str(principal.user_id) == body["id"]
    assert principal.role == "user"
    assert principal.expires_at // 1_000_000 > 1_700_000_000
    for token in (body["refresh_token"], body["access_token"] + "x"):
        with pytest.raises(Exception, match="access token"):
            await bank_of(app).tokens.authenticate(token)


def test_the_reference_shows_each_operation_once(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert {"/api/v1/users", "/api/v1/sessions", "/api/v1/auth/login"} <= paths.keys()
    assert "/auth/login" not in paths
    content = paths["/api/v1/auth/login"]["post"]["requestBody"]["content"]
    assert content.keys() == {"application/json", FORM["content-type"]}
