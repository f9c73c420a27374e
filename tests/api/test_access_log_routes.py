"""One line of the access log tells support all: who, from where, in which session, what came."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.api.plumbing import client_of, make_app
from tests.support.app import app_on, started
from tests.support.constants import API
from tests.support.logins import bearer, signed_up


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(one)["fields"] for one in caplog.records if one.name == "guilder.access"]


async def test_a_line_has_the_session_the_address_and_the_code_of_a_refusal(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "guilder.access")
    async with started(app_on(sqlite_url, tmp_path)) as client:
        ada = await signed_up(client)
        caplog.clear()
        await client.get(f"{API}/users/me", headers=bearer(ada))
        await client.get(f"{API}/accounts/{ada['user']['id']}", headers=bearer(ada))
        await client.post(f"{API}/accounts", json={"type": "no such type"}, headers=bearer(ada))
        await client.get(f"{API}/users/me")
    read, missing, invalid, nobody = lines(caplog)
    assert (read["status"], "code" in read) == (200, False)
    assert read["ip_address"] == "127.0.0.1"
    assert read["session_id"] == ada["session"]["id"]
    assert (missing["status"], missing["code"]) == (404, "account_not_found")
    assert (invalid["status"], invalid["code"]) == (422, "validation_failed")
    assert (nobody["status"], nobody["code"]) == (401, "unauthenticated")
    assert "session_id" not in nobody


async def test_a_line_tells_which_transfer_was_made(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So that a transfer can be tied to a session and an address."""
    caplog.set_level(logging.INFO, "guilder.access")
    async with started(app_on(sqlite_url, tmp_path)) as client:
        ada = bearer(await signed_up(client))

        async def post(path: str, **body: object) -> dict[str, Any]:
            answer = await client.post(f"{API}/{path}", json=body, headers=ada)
            made: dict[str, Any] = answer.json()
            return made

        kind = {"type": "checking", "currency": "EUR"}
        payer, payee = [(await post("accounts", **kind))["id"] for _ in range(2)]
        deposit = {"account_id": payer, "amount": 100, "currency": "EUR"}
        await post("simulations/deposits", **deposit)
        one = {"from_account_id": payer, "to_account_id": payee, "amount": 1}
        caplog.clear()
        made = await post("transfers", **one)
        await post("transfers?dry_run=true", **one)
        await post("transfers", **{**one, "amount": 5_000})
        batch = await post("transfers/batches", transfers=[one, {**one, "amount": 2}])
        deposited = await post("simulations/deposits", **deposit)
    single, dry, refused, several, money = lines(caplog)
    assert (single["transfer_id"], money["transfer_id"]) == (made["id"], deposited["id"])
    assert {"session_id", "ip_address"} <= single.keys()
    assert not [line for line in (dry, refused) if "transfer_id" in line]
    assert several["batch_id"] == batch["id"]
    ids = [result["transfer_id"] for result in batch["results"]]
    assert [several["first_transfer_id"], several["last_transfer_id"]] == ids


async def test_a_line_has_the_code_of_whatever_was_refused(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where OAuth2 has its own way, and where no route was found."""
    caplog.set_level(logging.INFO, "guilder.access")
    async with started(app_on(sqlite_url, tmp_path)) as client:
        caplog.clear()
        form = {"grant_type": "password", "username": "a@b.example", "password": "wrong password"}
        await client.post("/auth/login", data=form)
        await client.get("/nowhere")
        await client.put("/health/live")
    codes = [line["code"] for line in lines(caplog)]
    assert codes == ["invalid_credentials", "not_found", "method_not_allowed"]


TRACE = "0af7651916cd43dd8448eb211c80319c"
SOUND = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([SOUND], TRACE),
        ([f"cc-{TRACE}-b7ad6b7169203331-01-more"], TRACE),
        ([f"ff-{TRACE}-b7ad6b7169203331-01"], None),
        ([f"00-{'0' * 32}-b7ad6b7169203331-01"], None),
        ([f"00-{TRACE}-{'0' * 16}-01"], None),
        ([SOUND.upper()], None),
        ([SOUND, SOUND], None),
        ([], None),
    ],
)
async def test_a_line_has_the_trace_that_a_client_is_in(
    caplog: pytest.LogCaptureFixture, given: list[str], told: str | None
) -> None:
    """Also where no spans are sent to anybody."""
    caplog.set_level(logging.INFO, "guilder.access")
    async with client_of(make_app()) as client:
        headers = [(b"traceparent", one.encode()) for one in given]
        await client.get("/api/v1/moves", headers=headers)
    (line,) = lines(caplog)
    assert line.get("trace_id") == told
