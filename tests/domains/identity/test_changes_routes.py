"""Every change of how somebody signs in, or of what they may do, is told to them by a letter."""

from base64 import b32decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.permissions import Role
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.infra.mail.letters import MAX_VALUE_LENGTH
from tests.domains.identity.codes import code_at
from tests.domains.identity.mailbox import Mailbox, delivered, proved, text_of, with_mail
from tests.support.app import bank_of, made, started
from tests.support.authenticator import Authenticator
from tests.support.constants import API, EMAIL, PASSWORD
from tests.support.logins import Login, assert_problem, bearer, logged_in, of_role

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr("guilder.worker.DISPATCH_POLL_SECONDS", 0.02)
    settings = with_mail(database_url, tmp_path, require_email_verification=False)
    return made(settings, jobs=True)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        client.headers["User-Agent"] = FIREFOX
        yield client


async def told(app: FastAPI, box: Mailbox, change: SecurityChange) -> str:
    """The text of the one letter that has come since."""
    await delivered(app)
    letter = await box.next()
    assert (letter["Subject"], letter["To"]) == ("A change to your login", EMAIL)
    assert box.unread() == []
    text = text_of(letter)
    assert change.value.partition("{")[0] in text
    return text


async def asked(
    client: httpx.AsyncClient, who: Login, line: str, body: dict[str, Any] | None = None
) -> Any:
    method, _, path = line.partition(" ")
    answer = await client.request(method, f"{API}/{path}", json=body, headers=bearer(who))
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def test_changes_of_factors_are_told(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    ada = await logged_in(client)
    phone, clock = Authenticator(bank_of(app).settings.address), bank_of(app).clock
    options = (await asked(client, ada, "POST passkeys/registrations"))["public_key"]
    new = {"name": "Phone", "credential": phone.create(options)}
    passkey = await asked(client, ada, "POST passkeys", new)
    text = await told(app, box, SecurityChange.PASSKEY_ADDED)
    assert "Device: Firefox on Linux" in text
    await asked(client, ada, f"DELETE passkeys/{passkey['id']}")
    await told(app, box, SecurityChange.PASSKEY_REMOVED)
    secret = b32decode((await asked(client, ada, "POST users/me/totp"))["secret"])
    code = {"code": code_at(secret, clock)}
    codes = (await asked(client, ada, "POST users/me/totp/confirmations", code))["recovery_codes"]
    await told(app, box, SecurityChange.APP_ADDED)
    login = {"email": EMAIL, "password": PASSWORD, "totp_code": codes[0]}
    await asked(client, ada, "POST sessions", login)
    await told(app, box, SecurityChange.RECOVERY_CODE_USED)
    await asked(client, ada, "POST users/me/recovery-codes")
    await told(app, box, SecurityChange.RECOVERY_CODES_RENEWED)
    await asked(client, ada, "DELETE users/me/totp")
    await told(app, box, SecurityChange.APP_REMOVED)


async def test_what_an_admin_changes_is_told(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox
) -> None:
    await proved(client, box)
    ada = await logged_in(client)
    root = await of_role(app, client, Role.ADMIN, "root@example.test")
    await delivered(app)
    box.subjects()
    path = f"admin/users/{ada['user']['id']}"
    await asked(client, root, f"DELETE {path}/factors")
    assert "Device" not in await told(app, box, SecurityChange.FACTORS_REMOVED)
    await asked(client, root, f"PATCH {path}", {"role": "admin"})
    assert "Your role is now: admin." in await told(app, box, SecurityChange.ROLE_CHANGED)
    await asked(client, root, f"PATCH {path}", {"role": "admin"})
    await delivered(app)
    assert box.unread() == []  # nothing has changed


def test_what_is_said_of_a_change_fits_into_a_letter() -> None:
    assert all(len(change.value) < MAX_VALUE_LENGTH for change in SecurityChange)


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("PATCH admin/users/{id}", {"role": "admin"}),
        ("PATCH admin/users/{id}", {"is_active": False}),
        ("POST admin/users/{id}/rotations", {"reason": "stolen"}),
        ("POST admin/security/rotations", {"reason": "stolen"}),
        ("DELETE admin/users/{id}/factors", None),
    ],
)
async def test_what_an_admin_does_to_logins_asks_to_step_up(
    client: httpx.AsyncClient,
    app: FastAPI,
    box: Mailbox,
    line: str,
    body: dict[str, Any] | None,
) -> None:
    await proved(client, box)
    ada = await logged_in(client)
    root = await of_role(app, client, Role.ADMIN, "root@example.test")
    async with bank_of(app).database.begin() as connection:
        await connection.exec_driver_sql("UPDATE identity_sessions SET proved_at = 0")
    bank_of(app).tokens.forget()
    method, _, path = line.format(id=ada["user"]["id"]).partition(" ")
    answer = await client.request(method, f"{API}/{path}", json=body, headers=bearer(root))
    assert_problem(answer, 403, "step_up_required")
    await asked(client, root, "POST sessions/current/step-ups", {"password": PASSWORD})
    await asked(client, root, f"{method} {path}", body)
