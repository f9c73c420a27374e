"""Second factors and stepping up over HTTP."""

from base64 import b32decode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from guilder.api.exchange import MAX_BODY
from guilder.core.actor import FRESH_US
from guilder.core.permissions import Role
from guilder.domains.identity.models import sessions, totps
from tests.domains.identity.codes import code_at
from tests.support.app import app_on, bank_of, started
from tests.support.authenticator import Authenticator
from tests.support.constants import ADA, API, EMAIL, PASSWORD
from tests.support.logins import assert_problem, bearer, logged_in, of_role, signed_up, status_of

FRESH_SECONDS = FRESH_US // 1_000_000


async def post(
    client: httpx.AsyncClient, path: str, session: dict[str, Any] | None, **body: object
) -> httpx.Response:
    headers = None if session is None else bearer(session)
    return await client.post(f"{API}/{path}", json=body or None, headers=headers)


async def made(
    client: httpx.AsyncClient, path: str, session: dict[str, Any] | None, **body: object
) -> dict[str, Any]:
    answer = await post(client, path, session, **body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def grow_old(app: FastAPI) -> None:
    """Let what was proved be proved too long ago, and the steps of apps be free again."""
    async with bank_of(app).database.begin() as connection:
        earlier = sessions.c.proved_at - FRESH_US
        await connection.execute(update(sessions).values(proved_at=earlier))
        await connection.execute(update(totps).values(last_step=0))
    bank_of(app).tokens.forget()


async def enrol(
    client: httpx.AsyncClient, app: FastAPI, session: dict[str, Any]
) -> tuple[bytes, list[str]]:
    shown = await made(client, "users/me/totp", session)
    secret = secret_of(shown)
    code = code_at(secret, bank_of(app).clock)
    answer = await made(client, "users/me/totp/confirmations", session, code=code)
    return secret, answer["recovery_codes"]


def secret_of(shown: dict[str, Any]) -> bytes:
    return b32decode(shown["secret"])


async def test_an_app_is_set_up_and_asked_for(client: httpx.AsyncClient, app: FastAPI) -> None:
    ada = await signed_up(client)
    shown = await made(client, "users/me/totp", ada)
    assert shown["otpauth_uri"].startswith("otpauth://totp/Guilder%3Aada%40example.test?secret=")
    assert shown["secret"] in shown["otpauth_uri"]
    svg = ElementTree.fromstring(shown["qr_svg"])
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "script" not in shown["qr_svg"]
    await logged_in(client)  # not yet
    wrong = await post(client, "users/me/totp/confirmations", ada, code="000000")
    assert_problem(wrong, 403, "wrong_factor")
    secret = secret_of(shown)
    code = code_at(secret, bank_of(app).clock)
    confirmed = await post(client, "users/me/totp/confirmations", ada, code=code)
    assert (confirmed.status_code, len(confirmed.json()["recovery_codes"])) == (201, 10)
    assert confirmed.headers["cache-control"] == "no-store"
    again = await post(client, "users/me/totp/confirmations", ada, code=code)
    assert_problem(again, 409, "totp_active")
    assert again.json()["detail"] == "The authenticator app is active already."
    assert_problem(await post(client, "users/me/totp", ada), 409, "totp_active")
    factors = (await client.get(f"{API}/users/me/factors", headers=bearer(ada))).json()
    assert (factors["totp_enabled"], factors["recovery_codes_left"]) == (True, 10)
    assert factors["totp_enabled_at"] is not None
    assert factors["passkeys"] == []


@pytest.mark.parametrize("door", ["json", "oauth json", "oauth form", "oauth form at the root"])
async def test_every_way_in_asks_for_the_factor(
    client: httpx.AsyncClient, app: FastAPI, door: str
) -> None:
    ada = await signed_up(client)
    secret, codes = await enrol(client, app, ada)
    first = code_at(secret, bank_of(app).clock, -1)  # no later than that of the confirmation

    async def log_in(password: str = PASSWORD, **code: str) -> httpx.Response:
        given = {"password": password, **code}
        if door == "json":
            return await client.post(f"{API}/sessions", json={"email": EMAIL, **given})
        if door == "oauth json":
            return await client.post(f"{API}/auth/login", json={"username": EMAIL, **given})
        root = "" if door.endswith("root") else API
        return await client.post(f"{root}/auth/login", data={"username": EMAIL, **given})

    assert_problem(await log_in(), 401, "second_factor_required")
    assert_problem(await log_in(totp_code="000000"), 401, "invalid_second_factor")
    used = await log_in(totp_code=first)
    assert_problem(used, 401, "invalid_second_factor")
    for given in ({}, {"totp_code": codes[1]}):
        wrong = await log_in("wrong horse battery", **given)
        assert_problem(wrong, 401, "invalid_credentials")
    await grow_old(app)
    for code in (code_at(secret, bank_of(app).clock), codes[0]):
        done = await log_in(totp_code=code)
        assert done.is_success, done.text
        assert await status_of(client, done.json()) == 200
        assert_problem(await log_in(totp_code=code), 401, "invalid_second_factor")
    assert "www-authenticate" in used.headers


async def test_refreshing_asks_for_nothing_and_proves_nothing(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    ada = await signed_up(client)
    await enrol(client, app, ada)
    await grow_old(app)
    after = await made(client, "tokens", None, refresh_token=ada["refresh_token"])
    assert await status_of(client, after) == 200
    assert_problem(await post(client, "users/me/recovery-codes", after), 403, "step_up_required")


async def test_an_app_is_given_up_and_nothing_is_asked_any_more(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    ada = await signed_up(client)
    other = await logged_in(client)
    _, old = await enrol(client, app, ada)
    assert await status_of(client, other) == 401  # it was opened with less
    new = (await made(client, "users/me/recovery-codes", ada))["recovery_codes"]
    refused = await client.post(f"{API}/sessions", json={**ADA, "totp_code": old[0]})
    assert_problem(refused, 401, "invalid_second_factor")
    other = await made(client, "sessions", None, **ADA, totp_code=new[0])
    removed = await client.delete(f"{API}/users/me/totp", headers=bearer(ada))
    assert (removed.status_code, removed.content) == (204, b"")
    assert await status_of(client, other) == 401
    missing = await client.delete(f"{API}/users/me/totp", headers=bearer(ada))
    assert_problem(missing, 404, "totp_not_found")
    assert_problem(await post(client, "users/me/recovery-codes", ada), 404, "totp_not_found")
    await logged_in(client)


async def test_stepping_up_opens_what_an_access_token_does_not(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    ada = await signed_up(client)
    await grow_old(app)
    assert_problem(await post(client, "users/me/totp", ada), 403, "step_up_required")
    wrong = await post(client, "sessions/current/step-ups", ada, password="wrong horse battery")
    assert_problem(wrong, 403, "wrong_password")
    nothing = await post(client, "sessions/current/step-ups", ada, totp_code="000000")
    assert_problem(nothing, 403, "wrong_factor")
    assert_problem(await post(client, "users/me/totp", ada), 403, "step_up_required")
    before = datetime.now(UTC)
    done = await made(client, "sessions/current/step-ups", ada, password=PASSWORD)
    ends = datetime.fromisoformat(done["expires_at"])
    assert FRESH_SECONDS - 1 < (ends - before).total_seconds() < FRESH_SECONDS + 60
    secret, codes = await enrol(client, app, ada)
    await grow_old(app)
    alone = await post(client, "sessions/current/step-ups", ada, password=PASSWORD)
    assert_problem(alone, 403, "factor_required")
    for code in (code_at(secret, bank_of(app).clock), codes[0]):
        assert_problem(await post(client, "users/me/recovery-codes", ada), 403, "step_up_required")
        await made(client, "sessions/current/step-ups", ada, totp_code=code)
        if code != codes[0]:
            await grow_old(app)
    await made(client, "users/me/recovery-codes", ada)


@pytest.mark.parametrize(
    "body", [{}, {"password": PASSWORD, "totp_code": "000000"}, {"password": None}]
)
async def test_one_proof_is_given(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    ada = await signed_up(client)
    answer = await client.post(f"{API}/sessions/current/step-ups", json=body, headers=bearer(ada))
    assert_problem(answer, 422, "validation_failed")


async def test_who_stepped_up_in_another_process_is_let_through_at_once(
    database_url: str, tmp_path: Path
) -> None:
    """And one whose proof has run out is stopped by each of them."""
    first, second = app_on(database_url, tmp_path), app_on(database_url, tmp_path)
    async with started(first) as here, started(second) as there:
        ada = await signed_up(here)
        await grow_old(first)
        assert_problem(await post(there, "users/me/totp", ada), 403, "step_up_required")
        await made(here, "sessions/current/step-ups", ada, password=PASSWORD)
        await made(there, "users/me/totp", ada)


async def test_a_passkey_is_made_and_opens_a_session(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    phone = Authenticator(bank_of(app).settings.address)
    ada = await signed_up(client)
    await enrol(client, app, ada)
    options = (await made(client, "passkeys/registrations", ada))["public_key"]
    created = phone.create(options)
    shown = await made(client, "passkeys", ada, name=" My phone ", credential=created)
    assert shown.keys() == {"id", "name", "created_at", "last_used_at"}
    assert (shown["name"], shown["last_used_at"]) == ("My phone", None)
    again = await post(client, "passkeys", ada, name="Again", credential=created)
    assert_problem(again, 403, "wrong_factor")
    challenge = (await made(client, "passkeys/challenges", None))["public_key"]
    credential = phone.get(challenge)
    session = await made(client, "passkeys/sessions", None, credential=credential)
    assert session.keys() == ada.keys()
    assert await status_of(client, session) == 200
    replayed = await post(client, "passkeys/sessions", None, credential=credential)
    assert_problem(replayed, 401, "invalid_passkey")
    page = (await client.get(f"{API}/passkeys", headers=bearer(session))).json()
    assert [one["id"] for one in page["items"]] == [shown["id"]]
    assert page["items"][0]["last_used_at"] is not None
    await grow_old(app)
    path = f"{API}/passkeys/{shown['id']}"
    stale = await client.delete(path, headers=bearer(ada))
    assert_problem(stale, 403, "step_up_required")
    challenge = (await made(client, "passkeys/challenges", None))["public_key"]
    await made(client, "sessions/current/step-ups", ada, credential=phone.get(challenge))
    assert (await client.delete(path, headers=bearer(ada))).status_code == 204
    assert_problem(await client.delete(path, headers=bearer(ada)), 404, "passkey_not_found")
    assert await status_of(client, session) == 401


@pytest.mark.parametrize(
    "credential",
    [
        None, {}, "x", {"id": "a"},
        {"id": "a", "rawId": "a", "type": "other", "response": {}},
        {"id": "a=", "rawId": "a", "type": "public-key", "response": {}},
        {"id": "a", "rawId": "a", "type": "public-key", "response": {"clientDataJSON": 7}},
        {"id": "a", "rawId": "a" * 20_000, "type": "public-key", "response": {}},
    ],
)  # fmt: skip
async def test_what_is_no_credential_is_no_request(
    client: httpx.AsyncClient, credential: object
) -> None:
    ada = await signed_up(client)
    answer = await client.post(f"{API}/passkeys/sessions", json={"credential": credential})
    is_long = len(str(credential)) > MAX_BODY
    told = (413, "body_too_large") if is_long else (422, "validation_failed")
    assert_problem(answer, *told)
    body = {"name": "x", "credential": credential}
    answer = await client.post(f"{API}/passkeys", json=body, headers=bearer(ada))
    assert_problem(answer, 422, "validation_failed")


async def test_rubbish_of_the_right_shape_is_refused_like_any_other(
    client: httpx.AsyncClient,
) -> None:
    ada = await signed_up(client)
    response = {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}
    whole = {"id": "AA", "rawId": "AA", "type": "public-key", "clientExtensionResults": {"a": {}}}
    for handle in ({}, {"userHandle": None}, {"userHandle": "AA"}):
        proved = whole | {"response": response | handle}
        answer = await post(client, "passkeys/sessions", None, credential=proved)
        assert_problem(answer, 401, "invalid_passkey")
        answer = await post(client, "sessions/current/step-ups", ada, credential=proved)
        assert_problem(answer, 403, "wrong_factor")
    new = whole | {"response": {"clientDataJSON": "e30", "attestationObject": "AA"}}
    answer = await post(client, "passkeys", ada, name="x", credential=new)
    assert_problem(answer, 403, "wrong_factor")


async def test_an_admin_who_has_stepped_up_helps_who_has_lost_everything(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    ada = await signed_up(client)
    await enrol(client, app, ada)
    root = await of_role(app, client, Role.ADMIN, "root@example.test")
    path = f"{API}/admin/users/{ada['user']['id']}/factors"
    assert_problem(await client.delete(path, headers=bearer(ada)), 403, "forbidden")
    await grow_old(app)
    assert_problem(await client.delete(path, headers=bearer(root)), 403, "step_up_required")
    await made(client, "sessions/current/step-ups", root, password=PASSWORD)
    assert (await client.delete(path, headers=bearer(root))).status_code == 204
    assert await status_of(client, ada) == 401
    await logged_in(client)
    nobody = f"{API}/admin/users/{uuid4()}/factors"
    assert_problem(await client.delete(nobody, headers=bearer(root)), 404, "user_not_found")
