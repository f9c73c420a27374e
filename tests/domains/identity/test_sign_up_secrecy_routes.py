"""Whether an address was known before shows neither in signing up nor in signing in afterwards."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.clock import DAY_US
from tests.db import owner
from tests.domains.identity.mailbox import Mailbox, delivered, post, proved, sign_up, with_mail
from tests.support.app import bank_of, made, started
from tests.support.constants import EMAIL, PASSWORD
from tests.support.logins import assert_problem, logged_in

FRESH, PROVED, SQUATTED = "fresh@example.test", "proved@example.test", "squatted@example.test"
A, B = "the first phrase of Eve", "another phrase of Eve"
UP, IN = "users", "sessions"
WAYS = {
    "signs up and in": [(UP, A), (IN, A), (IN, B), (IN, A)],
    "signs in first": [(IN, A), (UP, A), (IN, A)],
    "signs up twice": [(UP, A), (UP, B), (IN, A), (IN, B), (IN, PASSWORD + "x")],
    "signs up with the same": [(UP, A), (UP, A), (IN, A)],
    "until it locks": [(UP, A), *[(IN, A)] * 6, (IN, B)],
    "old paths": [("auth/signup", A), ("auth/login", A), ("auth/login", B)],
}


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr("guilder.worker.DISPATCH_POLL_SECONDS", 0.02)
    return made(with_mail(database_url, tmp_path), jobs=True)


@pytest.fixture
def box(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mail")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def answered(client: httpx.AsyncClient, way: str, address: str) -> list[Any]:
    """What Eve is told, who does not read that mailbox, without what is new in each answer."""
    told: list[Any] = []
    for path, password in WAYS[way]:
        answer = await client.post(
            f"/api/v1/{path}",
            json={"email": address, "password": password},
            headers={"User-Agent": "Eve/1"},
        )
        body = answer.json()
        known = {name for name in body if name not in {"id", "created_at", "request_id", "email"}}
        locked = body.pop("locked_until", None) is not None
        said = {name: None if locked and name == "detail" else body.get(name) for name in known}
        told.append((path, answer.status_code, body.get("code"), sorted(known), said.get("title")))
    return told


@pytest.mark.parametrize("way", WAYS)
async def test_signing_up_and_in_tells_nobody_whether_an_address_was_known(
    client: httpx.AsyncClient, box: Mailbox, way: str
) -> None:
    await proved(client, box, PROVED)
    await logged_in(client, PROVED)
    await sign_up(client, SQUATTED)
    fresh = await answered(client, way, FRESH)
    assert await answered(client, way, PROVED) == fresh
    assert await answered(client, way, SQUATTED) == fresh
    assert {"email_unverified"} <= {code for _, _, code, *_ in fresh}


async def month_old_sign_ups(client: httpx.AsyncClient, app: FastAPI, box: Mailbox) -> None:
    await proved(client, box, PROVED)
    for address in (FRESH, PROVED):
        await post(client, UP, email=address, password=A)
    await delivered(app)
    for table in ("identity_users", "identity_repeated_sign_ups"):
        await owner.execute(
            bank_of(app).settings.database,
            f"UPDATE {table} SET created_at = created_at - {30 * DAY_US}",
        )


async def test_they_are_alike_after_a_month_too(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await month_old_sign_ups(client, app, box)
    for address in (FRESH, PROVED):
        late = await post(client, IN, email=address, password=A)
        assert_problem(late, 401, "invalid_credentials")


async def test_who_signs_up_once_more_after_a_month_is_told_to_confirm_the_address(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await month_old_sign_ups(client, app, box)
    for address in (FRESH, PROVED):
        assert (await post(client, UP, email=address, password=A)).status_code == 201
        again = await post(client, IN, email=address, password=A)
        assert_problem(again, 403, "email_unverified")


async def test_who_was_too_early_is_let_in_once_the_address_is_proved(
    client: httpx.AsyncClient, box: Mailbox
) -> None:
    await sign_up(client, EMAIL)
    for _ in range(5):
        early = await post(client, IN, email=EMAIL, password=PASSWORD)
        assert_problem(early, 403, "email_unverified")
    assert_problem(await post(client, IN, email=EMAIL, password=PASSWORD), 403, "account_locked")
    token = await box.token("Confirm your e-mail address")
    assert (await post(client, "email-verifications", token=token)).status_code == 201
    await logged_in(client)


async def test_signing_up_with_the_owners_address_gives_no_more_guesses(
    client: httpx.AsyncClient, box: Mailbox
) -> None:
    await proved(client, box)
    headers = {"User-Agent": "Eve/1"}
    for number in range(5):
        guess = {"email": EMAIL, "password": f"the owner's phrase {number}"}
        await client.post("/api/v1/users", json=guess, headers=headers)
        answer = await client.post("/api/v1/sessions", json=guess, headers=headers)
        assert_problem(answer, 403, "email_unverified")
    right = {"email": EMAIL, "password": PASSWORD}
    answer = await client.post("/api/v1/sessions", json=right, headers=headers)
    assert_problem(answer, 403, "account_locked")
