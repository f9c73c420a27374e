"""Somebody who has come in before the owner of the address: a reset ends it, and says what it left.

By ``intruder`` is meant who signed up first, or had the login for a while.
"""

from base64 import b32decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.clock import DAY_US, SystemClock
from tests.db import owner
from tests.domains.identity.codes import code_at
from tests.domains.identity.mailbox import (
    Mailbox,
    delivered,
    post,
    sign_up,
    text_of,
    token_in,
    with_mail,
)
from tests.support.app import bank_of, made, started
from tests.support.authenticator import Authenticator
from tests.support.constants import API, EMAIL, PASSWORD
from tests.support.logins import Login, assert_problem, bearer, logged_in, status_of

NEW = "another quite long phrase"
INTRUDER = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Firefox/133.0"}
NEW_SIGN_IN = "New sign-in to your account"


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """A bank where one signs in before the address is proved."""
    monkeypatch.setattr("guilder.worker.DISPATCH_POLL_SECONDS", 0.02)
    settings = with_mail(database_url, tmp_path, require_email_verification=False)
    return made(settings, jobs=True)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


@pytest.fixture
def phone(app: FastAPI, client: httpx.AsyncClient) -> Authenticator:
    return Authenticator(bank_of(app).settings.address)


async def asked(
    client: httpx.AsyncClient, who: Login, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    answer = await client.post(f"{API}/{path}", json=body, headers=bearer(who))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def with_passkey(client: httpx.AsyncClient, phone: Authenticator, who: Login) -> None:
    options = (await asked(client, who, "passkeys/registrations"))["public_key"]
    body = {"name": "Buy at evil.example", "credential": phone.create(options)}
    await asked(client, who, "passkeys", body)


async def with_app(client: httpx.AsyncClient, who: Login) -> bytes:
    secret = b32decode((await asked(client, who, "users/me/totp"))["secret"])
    await asked(
        client, who, "users/me/totp/confirmations", {"code": code_at(secret, SystemClock())}
    )
    return secret


async def by_passkey(client: httpx.AsyncClient, phone: Authenticator) -> httpx.Response:
    options = (await post(client, "passkeys/challenges")).json()["public_key"]
    return await post(client, "passkeys/sessions", credential=phone.get(options))


async def reset(client: httpx.AsyncClient, box: Mailbox, password: str = NEW) -> None:
    await post(client, "password-reset-tokens", email=EMAIL)
    token = await box.token("Set a new password")
    answer = await post(client, "password-resets", token=token, new_password=password)
    assert answer.status_code == 201


async def with_new_password(client: httpx.AsyncClient, **more: object) -> httpx.Response:
    return await post(client, "sessions", email=EMAIL, password=NEW, **more)


async def test_a_reset_that_proves_an_address_leaves_nothing_of_who_came_before(
    client: httpx.AsyncClient, box: Mailbox, phone: Authenticator
) -> None:
    await sign_up(client)
    intruder = await logged_in(client)
    await with_passkey(client, phone, intruder)
    await with_app(client, intruder)
    await box.token("Confirm your e-mail address")
    await reset(client, box)
    assert_problem(await by_passkey(client, phone), 401, "invalid_passkey")
    assert await status_of(client, intruder) == 401
    signed_in = await with_new_password(client)  # and no code is asked for
    assert signed_in.status_code == 201
    factors = await client.get(f"{API}/users/me/factors", headers=bearer(signed_in.json()))
    assert (factors.json()["totp_enabled"], factors.json()["passkeys"]) == (False, [])
    told = text_of(await box.next())
    assert "passkey" not in told.lower()


@pytest.mark.parametrize("way", ["reset", "verification"])
async def test_a_device_of_before_the_proof_is_not_known(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, way: str
) -> None:
    await sign_up(client)
    for _ in range(2):
        await logged_in(client)
    token = await box.token("Confirm your e-mail address")
    if way == "verification":
        await post(client, "email-verifications", token=token)
    else:
        await reset(client, box, PASSWORD)
    await delivered(app)
    box.subjects()
    await logged_in(client)
    await delivered(app)
    assert box.subjects() == [NEW_SIGN_IN]
    await logged_in(client)
    await delivered(app)
    assert box.subjects() == []


async def test_sessions_that_a_reset_ended_make_no_device_known(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await sign_up(client)
    token = await box.token("Confirm your e-mail address")
    await post(client, "email-verifications", token=token)
    await logged_in(client)
    client.headers.update(INTRUDER)
    intruder = await logged_in(client)
    await client.delete(f"{API}/sessions/current", headers=bearer(intruder))  # ended before
    await delivered(app)
    box.subjects()
    await reset(client, box, PASSWORD)
    await delivered(app)
    box.subjects()
    await logged_in(client)
    await delivered(app)
    assert box.subjects() == [NEW_SIGN_IN]


async def proved_with_factors(
    client: httpx.AsyncClient, box: Mailbox, phone: Authenticator
) -> bytes:
    """A login whose address is proved, with a passkey and an app; gives the app's secret."""
    await sign_up(client)
    token = await box.token("Confirm your e-mail address")
    await post(client, "email-verifications", token=token)
    login = await logged_in(client)
    await with_passkey(client, phone, login)
    return await with_app(client, login)


async def told_of_reset(app: FastAPI, box: Mailbox) -> Any:
    """The letter about the reset, the others being read."""
    await delivered(app)
    while (letter := await box.next())["Subject"] != "Your password was changed":
        pass
    return letter


async def reset_among_letters(client: httpx.AsyncClient, app: FastAPI, box: Mailbox) -> None:
    await delivered(app)
    box.subjects()
    await reset(client, box)


async def test_a_later_reset_tells_which_factors_there_are_and_a_way_to_remove_them(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, phone: Authenticator
) -> None:
    await proved_with_factors(client, box, phone)
    await reset_among_letters(client, app, box)
    letter = await told_of_reset(app, box)
    told = text_of(letter)
    assert "authenticator app added on " in told
    assert "passkey added on " in told
    assert "evil.example" not in told  # the name may be a stranger's
    assert (await by_passkey(client, phone)).status_code == 201  # until the owner says
    token = token_in(letter)
    assert (await post(client, "factor-removals", token=token)).status_code == 201
    assert_problem(await by_passkey(client, phone), 401, "invalid_passkey")
    again = await post(client, "factor-removals", token=token)
    assert_problem(again, 400, "token_invalid")


async def test_an_app_that_was_given_up_by_letter_ends_after_three_days(
    client: httpx.AsyncClient,
    app: FastAPI,
    box: Mailbox,
    phone: Authenticator,
    database_url: str,
) -> None:
    await proved_with_factors(client, box, phone)
    await reset_among_letters(client, app, box)
    token = token_in(await told_of_reset(app, box))
    await post(client, "factor-removals", token=token)
    assert_problem(await with_new_password(client), 401, "second_factor_required")
    await owner.execute(database_url, f"UPDATE identity_totps SET ends_at = ends_at - {3 * DAY_US}")
    signed_in = await with_new_password(client)
    assert signed_in.status_code == 201
    factors = await client.get(f"{API}/users/me/factors", headers=bearer(signed_in.json()))
    assert factors.json() == {
        "totp_enabled": False, "totp_enabled_at": None, "recovery_codes_left": 0, "passkeys": [],
    }  # fmt: skip
    await with_app(client, signed_in.json())  # there is room for another one


async def test_an_app_whose_codes_are_used_meanwhile_stays(
    client: httpx.AsyncClient,
    app: FastAPI,
    box: Mailbox,
    phone: Authenticator,
    database_url: str,
) -> None:
    secret = await proved_with_factors(client, box, phone)
    await reset_among_letters(client, app, box)
    token = token_in(await told_of_reset(app, box))
    await post(client, "factor-removals", token=token)
    await owner.execute(database_url, "UPDATE identity_totps SET last_step = 0")
    code = code_at(secret, bank_of(app).clock)
    assert (await with_new_password(client, totp_code=code)).status_code == 201
    ends = "SELECT ends_at FROM identity_totps"
    assert await owner.rows(database_url, ends) == [(None,)]
