"""What browsers and password managers look for, and passkeys as browsers write them."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.app import app_on, bank_of, started
from tests.support.authenticator import Authenticator
from tests.support.constants import API
from tests.support.logins import bearer, signed_up


async def test_password_managers_are_led_to_where_passwords_are_changed(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/.well-known/change-password")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/reset-password")
    assert (await client.get(answer.headers["Location"])).status_code == 200


async def test_the_origins_that_may_use_passkeys_are_listed(
    database_url: str, tmp_path: Path
) -> None:
    chosen = {
        "base_url": "https://bank.example",
        "passkey_host": "example",
        "passkey_origins": "https://bank.example,https://app.other",
    }
    async with started(app_on(database_url, tmp_path, **chosen)) as client:
        told = (await client.get("/.well-known/webauthn")).json()
        assert told == {"origins": ["https://bank.example", "https://app.other"]}
        asked = (await client.post(f"{API}/passkeys/challenges")).json()["public_key"]
        assert asked["rpId"] == "example"


async def test_a_bank_as_started_takes_passkeys_of_localhost(
    database_url: str, tmp_path: Path
) -> None:
    app = app_on(database_url, tmp_path)
    async with started(app) as client:
        assert bank_of(app).settings.address == "http://localhost:8000"
        asked = (await client.post(f"{API}/passkeys/challenges")).json()["public_key"]
        assert asked["rpId"] == "localhost"
        told = (await client.get("/.well-known/webauthn")).json()
        assert told == {"origins": ["http://localhost:8000"]}


def with_more(credential: dict[str, Any]) -> dict[str, Any]:
    """As a browser may write it that knows more than we do."""
    response = credential["response"] | {"publicKeyHash": "AA", "x": {"y": [1]}}
    return credential | {"response": response, "largeBlob": None, "signals": {"z": 1}}


async def test_members_that_only_browsers_know_are_ignored(
    database_url: str, tmp_path: Path
) -> None:
    async with started(app_on(database_url, tmp_path)) as client:
        phone = Authenticator("http://localhost:8000")
        ada = await signed_up(client)
        path = f"{API}/passkeys"
        made = await client.post(f"{path}/registrations", headers=bearer(ada))
        body = {"name": "Phone", "credential": with_more(phone.create(made.json()["public_key"]))}
        kept = await client.post(path, json=body, headers=bearer(ada))
        assert kept.status_code == 201, kept.text
        asked = (await client.post(f"{path}/challenges")).json()["public_key"]
        signed = {"credential": with_more(phone.get(asked))}
        assert (await client.post(f"{path}/sessions", json=signed)).status_code == 201


@pytest.mark.parametrize("where", ["body", "name"])
async def test_members_beside_the_credential_are_still_refused(
    client: httpx.AsyncClient, where: str
) -> None:
    ada = await signed_up(client)
    body = {"name": "x", "credential": {}, "more": 1} if where == "body" else {"nome": "x"}
    answer = await client.post(f"{API}/passkeys", json=body, headers=bearer(ada))
    assert answer.status_code == 422
