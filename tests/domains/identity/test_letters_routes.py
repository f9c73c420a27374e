"""Letters over HTTP: an address is proved, a password reset, and nobody learns who is known."""

import asyncio
from base64 import b32decode
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, select, text, update

from guilder.domains.identity.models import letters, users
from tests.domains.identity.codes import code_at
from tests.domains.identity.mailbox import (
    Mailbox,
    delivered,
    passed,
    post,
    proved,
    sign_up,
    text_of,
    with_mail,
)
from tests.support.app import bank_of, made, started
from tests.support.constants import API, EMAIL, PASSWORD
from tests.support.logins import assert_problem, bearer, logged_in, refresh, status_of

NEW = "another quite long phrase"


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """A bank that looks all the time for letters to send."""
    monkeypatch.setattr("guilder.worker.DISPATCH_POLL_SECONDS", 0.02)
    return made(with_mail(database_url, tmp_path), jobs=True)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def test_nobody_signs_in_before_the_address_is_proved(
    client: httpx.AsyncClient, box: Mailbox
) -> None:
    await sign_up(client)
    token = await box.token("Confirm your e-mail address")
    refused = await post(client, "sessions", email=EMAIL, password=PASSWORD)
    assert_problem(refused, 403, "email_unverified")
    form = {"username": EMAIL, "password": PASSWORD}
    assert_problem(await client.post("/auth/login", data=form), 403, "email_unverified")
    wrong = await post(client, "sessions", email=EMAIL, password=PASSWORD + "!")
    assert_problem(wrong, 401, "invalid_credentials")
    assert (await post(client, "email-verifications", token=token)).status_code == 201
    session = await logged_in(client)
    assert session["user"]["email_verified"] is True
    again = await post(client, "email-verifications", token=token)
    assert_problem(again, 400, "token_invalid")
    assert again.json()["already_confirmed"] is True  # a second click is no failure
    assert again.json()["detail"] == "This e-mail address is confirmed already. You can sign in."


async def test_signing_up_and_in_gives_no_tokens_before_the_address_is_proved(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/auth/signup", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["email"], body["access_token"], body["refresh_token"]) == (EMAIL, None, None)


async def test_an_unproved_address_may_sign_in_where_that_is_not_asked(
    database_url: str, tmp_path: Path, box: Mailbox
) -> None:
    lenient = made(with_mail(database_url, tmp_path, require_email_verification=False), jobs=True)
    async with started(lenient) as client:
        await sign_up(client)
        assert (await logged_in(client))["user"]["email_verified"] is False
        await box.token("Confirm your e-mail address")


async def test_a_token_is_good_for_its_purpose_only(
    client: httpx.AsyncClient, box: Mailbox
) -> None:
    await sign_up(client)
    token = await box.token("Confirm your e-mail address")
    wrong = await post(client, "password-resets", token=token, new_password=NEW)
    assert_problem(wrong, 400, "token_invalid")
    await post(client, "password-reset-tokens", email=EMAIL)
    reset = await box.token("Set a new password")
    assert_problem(await post(client, "email-verifications", token=reset), 400, "token_invalid")
    assert_problem(await post(client, "email-verifications", token="x" * 43), 400, "token_invalid")
    assert (await post(client, "email-verifications", token=token)).status_code == 201


@pytest.mark.parametrize("hours_ago", [24, 23])
async def test_a_token_expires(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, hours_ago: int
) -> None:
    await sign_up(client)
    token = await box.token("Confirm your e-mail address")
    await passed(app, hours_ago * 3600)
    answer = await post(client, "email-verifications", token=token)
    if hours_ago == 24:
        assert_problem(answer, 400, "token_expired")
    else:
        assert answer.status_code == 201


async def test_a_password_is_reset_and_every_session_ends(
    client: httpx.AsyncClient, box: Mailbox
) -> None:
    await proved(client, box)
    session = await logged_in(client)
    asked = await post(client, "password-reset-tokens", email=EMAIL.upper())
    assert asked.status_code == 201
    token = await box.token("Set a new password")
    weak = await post(client, "password-resets", token=token, new_password="password1234")
    assert_problem(weak, 422, "weak_password")
    assert await status_of(client, session) == 200
    done = await post(client, "password-resets", token=token, new_password=NEW)
    assert done.status_code == 201
    assert await status_of(client, session) == 401
    assert_problem(await refresh(client, session["refresh_token"]), 401, "refresh_invalid")
    old = await post(client, "sessions", email=EMAIL, password=PASSWORD)
    assert_problem(old, 401, "invalid_credentials")
    assert (await post(client, "sessions", email=EMAIL, password=NEW)).status_code == 201
    used = await post(client, "password-resets", token=token, new_password=NEW + "!")
    assert_problem(used, 400, "token_invalid")
    assert (await box.next())["Subject"] == "Your password was changed"


async def test_a_reset_opens_a_locked_login(client: httpx.AsyncClient, box: Mailbox) -> None:
    await proved(client, box)
    for _ in range(5):
        await post(client, "sessions", email=EMAIL, password="wrong wrong wrong")
    locked = await post(client, "sessions", email=EMAIL, password=PASSWORD)
    assert_problem(locked, 403, "account_locked")
    assert (await box.next())["Subject"] == "Sign-in is paused"
    await post(client, "password-reset-tokens", email=EMAIL)
    token = await box.token("Set a new password")
    await post(client, "password-resets", token=token, new_password=NEW)
    assert (await post(client, "sessions", email=EMAIL, password=NEW)).status_code == 201


async def test_all_reset_tokens_die_with_the_first_that_is_used(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    tokens = []
    for _ in range(2):
        await post(client, "password-reset-tokens", email=EMAIL)
        tokens.append(await box.token("Set a new password"))
        await passed(app, 180)
    first = await post(client, "password-resets", token=tokens[1], new_password=NEW)
    assert first.status_code == 201
    second = await post(client, "password-resets", token=tokens[0], new_password=NEW + "!")
    assert_problem(second, 400, "token_invalid")


async def test_of_two_who_use_a_token_at_once_one_wins(
    client: httpx.AsyncClient, box: Mailbox
) -> None:
    await proved(client, box)
    await post(client, "password-reset-tokens", email=EMAIL)
    token = await box.token("Set a new password")
    answers = await asyncio.gather(
        *[
            post(client, "password-resets", token=token, new_password=f"{NEW} {number}")
            for number in range(4)
        ]
    )
    assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400]
    winner = [answer.status_code for answer in answers].index(201)
    good = await post(client, "sessions", email=EMAIL, password=f"{NEW} {winner}")
    assert good.status_code == 201


async def test_asking_again_and_again_does_not_fill_a_mailbox(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    for _ in range(5):
        asked = await post(client, "password-reset-tokens", email=EMAIL)
        assert asked.status_code == 201
    await box.token("Set a new password")
    await delivered(app)
    assert box.unread() == []
    await passed(app, 180)
    await post(client, "password-reset-tokens", email=EMAIL)
    await box.token("Set a new password")


DIFFERS = {"id", "email", "created_at"}
UNPROVED = "unproved@example.test"


@pytest.mark.parametrize("path", ["users", "auth/signup"])
async def test_signing_up_does_not_tell_who_is_known(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, path: str
) -> None:
    await proved(client, box)
    await sign_up(client, UNPROVED)
    await box.token("Confirm your e-mail address")
    another = "another quite long password"
    answers = [
        await post(client, path, email=address, password=another, full_name="Ada")
        for address in ("new@example.test", EMAIL.upper(), UNPROVED)
    ]
    assert {answer.status_code for answer in answers} == {201}
    bodies = [answer.json() for answer in answers]
    assert len({frozenset(body) for body in bodies}) == 1
    assert len({body["id"] for body in bodies}) == 3
    shown = [{k: v for k, v in body.items() if k not in DIFFERS} for body in bodies]
    assert shown[0] == shown[1] == shown[2]
    names = [answer.headers.keys() - {"x-request-id", "date"} for answer in answers]
    assert names[0] == names[1] == names[2]
    await delivered(app)
    letters_of = {one["To"]: str(one["Subject"]) async for one in rest(box)}
    assert letters_of == {
        "new@example.test": "Confirm your e-mail address",
        EMAIL: "You have a login already",
        UNPROVED: "Set a new password",
    }
    await logged_in(client)  # with the password of before
    for address in ("new@example.test", EMAIL, UNPROVED):
        refused = await post(client, "sessions", email=address, password=another)
        assert_problem(refused, 403, "email_unverified")


async def test_signing_up_is_the_same_work_whoever_is_known(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    await delivered(app)
    told: list[str] = []
    engine = bank_of(app).database.writer.sync_engine

    def note(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        if "outbox_deliveries SET" not in statement:
            told.append(statement)

    done = []
    for address in (EMAIL, "new@example.test"):
        event.listen(engine, "before_cursor_execute", note)
        await post(client, "users", email=address, password=PASSWORD)
        event.remove(engine, "before_cursor_execute", note)
        done.append([one for one in told if "identity_" in one and "letters.id" not in one])
        told.clear()
        await delivered(app)
    known, new = done
    assert known == new


@pytest.mark.parametrize("path", ["email-verification-tokens", "password-reset-tokens"])
async def test_what_is_no_address_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert_problem(await post(client, path, email="ada.example.test"), 422, "validation_failed")


@pytest.mark.parametrize("path", ["email-verification-tokens", "password-reset-tokens"])
async def test_the_answer_does_not_tell_who_is_known(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, path: str
) -> None:
    await proved(client, box)
    await passed(app, 180)
    known = await post(client, path, email=EMAIL)
    unknown = await post(client, path, email="nobody@example.test")
    assert (known.status_code, unknown.status_code) == (201, 201)
    assert known.json() == unknown.json()
    for name in known.headers.keys() - {"x-request-id", "date"}:
        assert known.headers[name] == unknown.headers[name]
    await delivered(app)
    sent = [one["To"] async for one in rest(box)]
    assert sent == ([EMAIL] if path == "password-reset-tokens" else [])


@pytest.mark.parametrize("path", ["email-verification-tokens", "password-reset-tokens"])
async def test_asking_is_the_same_work_whoever_is_known(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, path: str
) -> None:
    await proved(client, box)
    await delivered(app)
    told: list[str] = []
    engine = bank_of(app).database.writer.sync_engine

    def note(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        if "outbox_deliveries SET" not in statement:  # the dispatcher's, in the background
            told.append(statement)

    done = []
    for address in (EMAIL, "nobody@example.test"):
        event.listen(engine, "before_cursor_execute", note)
        assert (await post(client, path, email=address)).status_code == 201
        event.remove(engine, "before_cursor_execute", note)
        done.append([statement for statement in told if "identity_" in statement])
        told.clear()
        await delivered(app)
    known, unknown = done
    assert known == unknown
    assert len(known) == (2 if bank_of(app).database.sqlite else 3)  # with who is looked up first


async def rest(box: Mailbox) -> AsyncIterator[EmailMessage]:
    while box.unread():
        yield await box.next()


async def test_somebody_switched_off_gets_no_letter_and_no_way_in(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    await post(client, "password-reset-tokens", email=EMAIL)
    token = await box.token("Set a new password")
    async with bank_of(app).database.begin() as connection:
        await connection.execute(update(users).values(is_active=False))
    refused = await post(client, "password-resets", token=token, new_password=NEW)
    assert_problem(refused, 400, "token_invalid")
    await passed(app, 180)
    await post(client, "password-reset-tokens", email=EMAIL)
    await delivered(app)
    assert box.unread() == []


async def test_a_new_device_is_told_to_its_owner(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    await logged_in(client)
    await delivered(app)
    assert box.unread() == []  # the first one is no news
    await logged_in(client)
    await delivered(app)
    assert box.unread() == []  # nor is the same device
    client.headers["User-Agent"] = (
        "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0 <b>buy</b>"
    )
    await logged_in(client)
    letter = await box.next()
    assert letter["Subject"] == "New sign-in to your account"
    assert "Device: Firefox on Linux Address:" in text_of(letter)  # never what the client says


async def test_no_token_is_in_the_database(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    await post(client, "password-reset-tokens", email=EMAIL)
    token = await box.token("Set a new password")
    async with bank_of(app).database.view() as connection:
        rows = (await connection.execute(select(letters))).all()
        events = (await connection.execute(text("SELECT payload FROM outbox"))).all()
    assert len(rows) == 2
    assert token not in repr(rows) + repr(events)
    assert EMAIL not in repr(rows) + repr(events)


async def test_changing_the_password_is_told(client: httpx.AsyncClient, box: Mailbox) -> None:
    await proved(client, box)
    session = await logged_in(client)
    body = {"current_password": PASSWORD, "new_password": NEW}
    answer = await client.put(f"{API}/users/me/password", json=body, headers=bearer(session))
    assert answer.status_code == 204
    letter = await box.next()
    assert (letter["Subject"], letter["To"]) == ("Your password was changed", EMAIL)


async def test_somebody_who_knows_the_password_and_no_code_is_told_of(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    ada = bearer(await logged_in(client))
    shown = (await client.post(f"{API}/users/me/totp", headers=ada)).json()
    code = code_at(b32decode(shown["secret"]), bank_of(app).clock)
    confirmed = await client.post(
        f"{API}/users/me/totp/confirmations", json={"code": code}, headers=ada
    )
    assert confirmed.status_code == 201
    assert (await box.next())["Subject"] == "A change to your login"
    for _ in range(5):
        wrong = await post(client, "sessions", email=EMAIL, password=PASSWORD, totp_code="000000")
        assert_problem(wrong, 401, "invalid_second_factor")
    letter = await box.next()
    assert (letter["Subject"], letter["To"]) == ("Somebody may know your password", EMAIL)
    await delivered(app)
    assert box.unread() == []
