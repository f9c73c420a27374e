"""Letters over HTTP: an address is proved, a password reset, and nobody learns who is known."""

import asyncio
import email
import re
from base64 import b32decode
from collections.abc import AsyncIterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, select, text, update

from guilder.domains.identity.models import letters, users
from guilder.infra.process.settings import Settings
from tests.domains.identity.codes import code_at
from tests.support.app import bank_of, made, started
from tests.support.constants import API, EMAIL, PASSWORD
from tests.support.logins import assert_problem, bearer, logged_in, refresh, status_of
from tests.support.waiting import LONG

NEW = "another quite long phrase"


class Mailbox:
    """The folder that the bank writes its mail into."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: set[Path] = set()

    async def next(self, seconds: float = LONG) -> EmailMessage:
        """The next letter that has not been read; waits for it."""
        async with asyncio.timeout(seconds):
            while not (new := self.unread()):
                await asyncio.sleep(0.02)
        self._read.add(new[0])
        return email.message_from_bytes(new[0].read_bytes(), policy=default)

    async def token(self, subject: str) -> str:
        """The token in the next letter, which must have that subject."""
        letter = await self.next()
        assert letter["Subject"] == subject
        body = letter.get_body(("plain",))
        assert body is not None
        found = re.search(r"http://[^/]+(/[\w-]+)#token=([\w-]{43})\s", body.get_content())
        assert found is not None
        assert found[1] in {"/verify-email", "/reset-password"}
        return found[2]

    def unread(self) -> list[Path]:
        """Letters that have not been read, oldest first."""
        found = set(self._folder.glob("*.eml")) - self._read
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """A bank that looks all the time for letters to send."""
    monkeypatch.setattr("guilder.worker.DISPATCH_POLL_SECONDS", 0.02)
    return made(settings(database_url, tmp_path), jobs=True)


def settings(url: str, folder: Path, **more: object) -> Settings:
    values = {
        "env": "test", "data_dir": folder, "database_url": url, "rate_limits": False,
        "mail_url": f"file:{folder / 'mail'}", **more,
    }  # fmt: skip
    return Settings.model_validate(values)


@pytest.fixture
def box(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mail")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, **body: object) -> httpx.Response:
    return await client.post(f"{API}/{path}", json=body)


async def sign_up(client: httpx.AsyncClient, address: str = EMAIL) -> None:
    answer = await post(client, "users", email=address, password=PASSWORD)
    assert (answer.status_code, answer.json()["email_verified"]) == (201, False)


async def proved(client: httpx.AsyncClient, box: Mailbox, address: str = EMAIL) -> None:
    await sign_up(client, address)
    token = await box.token("Confirm your e-mail address")
    assert (await post(client, "email-verifications", token=token)).status_code == 201


async def delivered(app: FastAPI) -> None:
    """Wait until nothing is due, so that the absence of a letter means something."""
    due = text("SELECT count(*) FROM outbox_deliveries WHERE state = 'pending'")
    async with asyncio.timeout(LONG):
        while await bank_of(app).runner.view(lambda view: view.scalar(due)):
            await asyncio.sleep(0.02)


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
    lenient = made(settings(database_url, tmp_path, require_email_verification=False), jobs=True)
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


async def passed(app: FastAPI, seconds: int) -> None:
    """Let every letter be so much older."""
    us = seconds * 1_000_000
    values = {"expires_at": letters.c.expires_at - us, "sent_at": letters.c.sent_at - us}
    async with bank_of(app).database.begin() as connection:
        await connection.execute(update(letters).values(values))


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
    assert len(known) == 2


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
    client.headers["User-Agent"] = "Phone/1 <b>buy</b>"
    await logged_in(client)
    letter = await box.next()
    assert letter["Subject"] == "New sign-in to your account"
    body = letter.get_body(("plain",))
    assert body is not None
    assert "Phone/1" in body.get_content()


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
    for _ in range(5):
        wrong = await post(client, "sessions", email=EMAIL, password=PASSWORD, totp_code="000000")
        assert_problem(wrong, 401, "invalid_second_factor")
    letter = await box.next()
    assert (letter["Subject"], letter["To"]) == ("Somebody may know your password", EMAIL)
    await delivered(app)
    assert box.unread() == []
