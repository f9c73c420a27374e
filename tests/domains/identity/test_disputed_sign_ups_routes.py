"""Two sign up with one address: who reads that mailbox gets the login, and the other nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.domains.identity.mailbox import Mailbox, delivered, passed, post, with_mail
from tests.support.app import made, started
from tests.support.constants import EMAIL
from tests.support.logins import assert_problem

STRANGERS, OWNERS, NEW = "the first phrase of Eve", "the own phrase of Ada", "a later phrase of Ada"
CONFIRM, SET = "Confirm your e-mail address", "Set a new password"


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr("guilder.worker.DISPATCH_POLL_SECONDS", 0.02)
    return made(with_mail(database_url, tmp_path), jobs=True)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def signed_up(client: httpx.AsyncClient, password: str) -> None:
    assert (await post(client, "users", email=EMAIL, password=password)).status_code == 201


async def signs_in(client: httpx.AsyncClient, password: str) -> httpx.Response:
    return await post(client, "sessions", email=EMAIL, password=password)


async def test_no_confirmation_gives_a_login_to_who_signed_up_with_somebodys_address(
    client: httpx.AsyncClient, box: Mailbox
) -> None:
    await signed_up(client, STRANGERS)
    confirm = await box.token(CONFIRM)
    await signed_up(client, OWNERS)
    reset = await box.token(SET)
    clicked = await post(client, "email-verifications", token=confirm)
    assert_problem(clicked, 400, "token_invalid")
    for password in (STRANGERS, OWNERS):
        assert_problem(await signs_in(client, password), 403, "email_unverified")
    done = await post(client, "password-resets", token=reset, new_password=NEW)
    assert done.status_code == 201
    assert (await signs_in(client, NEW)).status_code == 201
    assert_problem(await signs_in(client, STRANGERS), 401, "invalid_credentials")


async def test_a_reset_that_a_stranger_asked_for_holds_back_no_letter_to_who_signs_up_next(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await signed_up(client, STRANGERS)
    await box.token(CONFIRM)
    await post(client, "password-reset-tokens", email=EMAIL)
    early = await box.token(SET)
    await signed_up(client, OWNERS)
    token = await box.token(SET)
    await signed_up(client, STRANGERS)  # once more: neither a second letter nor an end to the first
    await delivered(app)
    assert box.unread() == []
    dead = await post(client, "password-resets", token=early, new_password=NEW)
    assert_problem(dead, 400, "token_invalid")
    done = await post(client, "password-resets", token=token, new_password=NEW)
    assert done.status_code == 201


async def test_who_asks_for_a_confirmation_after_two_sign_ups_sets_a_new_password(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await signed_up(client, STRANGERS)
    await box.token(CONFIRM)
    await signed_up(client, OWNERS)
    await box.token(SET)
    await passed(app, 180)
    await post(client, "email-verification-tokens", email=EMAIL)
    token = await box.token(SET)
    done = await post(client, "password-resets", token=token, new_password=NEW)
    assert done.status_code == 201
