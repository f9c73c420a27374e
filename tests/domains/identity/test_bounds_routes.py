"""How long sessions last, and the second factor that can be demanded of administrators."""

from base64 import b32decode
from pathlib import Path

import pytest

from guilder.core.clock import DAY_US
from guilder.core.permissions import Role
from tests.db import owner
from tests.domains.identity.codes import code_at
from tests.support.app import app_on, bank_of, started
from tests.support.authenticator import Authenticator
from tests.support.constants import API, PASSWORD
from tests.support.logins import (
    assert_problem,
    bearer,
    logged_in,
    of_role,
    refresh,
    signed_up,
)


@pytest.mark.parametrize(
    ("idle", "absolute", "age", "left"),
    [(14, 90, 0, 14), (2, 90, 0, 2), (14, 90, 80, 10), (14, 90, 89, 1), (14, 30, 20, 10)],
)
async def test_a_session_ends_when_it_is_idle_and_at_its_age(
    database_url: str, tmp_path: Path, idle: int, absolute: int, age: int, left: int
) -> None:
    app = app_on(database_url, tmp_path, session_idle_days=idle, session_absolute_days=absolute)
    async with started(app) as client:
        ada = await signed_up(client)
        opened = f"UPDATE identity_sessions SET created_at = created_at - {age * DAY_US}"
        await owner.execute(database_url, opened)
        next_ = (await refresh(client, ada["refresh_token"])).json()
        await owner.execute(
            database_url,
            f"UPDATE identity_sessions SET expires_at = expires_at - {left * DAY_US - 60_000_000}",
        )
        bank_of(app).tokens.forget()
        again = await refresh(client, next_["refresh_token"])
        assert again.status_code == 201
        await owner.execute(
            database_url,
            f"UPDATE identity_sessions SET expires_at = expires_at - {idle * DAY_US}",
        )
        over = await refresh(client, again.json()["refresh_token"])
        assert_problem(over, 401, "refresh_invalid")


async def test_an_admin_without_a_second_factor_acts_as_a_user_where_that_is_demanded(
    database_url: str, tmp_path: Path
) -> None:
    app = app_on(database_url, tmp_path, require_admin_factors=True)
    async with started(app) as client:
        ada = await signed_up(client)
        root = await of_role(app, client, Role.ADMIN, "root@example.test")
        path = f"{API}/admin/users"
        assert_problem(await client.get(path, headers=bearer(root)), 403, "second_factor_demanded")
        assert_problem(await client.get(path, headers=bearer(ada)), 403, "forbidden")
        new = {"type": "checking", "currency": "EUR"}
        hers = await client.post(f"{API}/accounts", json=new, headers=bearer(ada))
        account = f"{API}/accounts/{hers.json()['id']}"
        assert_problem(await client.get(account, headers=bearer(root)), 404, "account_not_found")
        shown = await client.post(f"{API}/users/me/totp", headers=bearer(root))
        secret = b32decode(shown.json()["secret"])
        code = {"code": code_at(secret, bank_of(app).clock, -1)}
        confirmations = f"{API}/users/me/totp/confirmations"
        assert (
            await client.post(confirmations, json=code, headers=bearer(root))
        ).status_code == 201
        assert (await client.get(path, headers=bearer(root))).status_code == 200
        assert (await client.get(account, headers=bearer(root))).status_code == 200
        login = {
            "email": "root@example.test",
            "password": PASSWORD,
            "totp_code": code_at(secret, bank_of(app).clock),
        }
        other = (await client.post(f"{API}/sessions", json=login)).json()
        assert (await client.get(path, headers=bearer(other))).status_code == 200


async def test_the_password_alone_puts_no_factor_in_the_place_of_an_admins_passkey(
    database_url: str, tmp_path: Path
) -> None:
    app = app_on(database_url, tmp_path, require_admin_factors=True)
    async with started(app) as client:
        root = await of_role(app, client, Role.ADMIN, "root@example.test")
        phone = Authenticator(bank_of(app).settings.address)
        path = f"{API}/passkeys"
        asked = await client.post(f"{path}/registrations", headers=bearer(root))
        made = phone.create(asked.json()["public_key"])
        body = {"name": "Phone", "credential": made}
        kept = await client.post(path, json=body, headers=bearer(root))
        assert kept.status_code == 201
        thief = await logged_in(client, "root@example.test")
        for method, what, given in (
            ("POST", "users/me/totp", None), ("POST", "passkeys/registrations", None),
            ("DELETE", f"passkeys/{kept.json()['id']}", None), ("DELETE", "users/me", None),
            ("POST", "users/me/email-changes", {"email": "thief@example.test"}),
        ):  # fmt: skip
            answer = await client.request(
                method, f"{API}/{what}", json=given, headers=bearer(thief)
            )
            assert_problem(answer, 403, "second_factor_demanded")
        step_up = f"{API}/sessions/current/step-ups"
        again = await client.post(step_up, json={"password": PASSWORD}, headers=bearer(thief))
        assert again.status_code == 201
        answer = await client.post(f"{API}/users/me/totp", headers=bearer(thief))
        assert_problem(answer, 403, "second_factor_demanded")
        challenge = (await client.post(f"{path}/challenges")).json()["public_key"]
        signed = {"credential": phone.get(challenge)}
        assert (await client.post(step_up, json=signed, headers=bearer(root))).status_code == 201
        users = await client.get(f"{API}/admin/users", headers=bearer(root))
        assert users.status_code == 200
        answer = await client.post(f"{API}/users/me/totp", headers=bearer(root))
        assert answer.status_code == 201


async def test_a_session_older_than_a_bound_that_was_set_later_is_not_renewed(
    database_url: str, tmp_path: Path
) -> None:
    async with started(app_on(database_url, tmp_path)) as client:
        ada = await signed_up(client)
        opened = f"UPDATE identity_sessions SET created_at = created_at - {90 * DAY_US}"
        await owner.execute(database_url, opened)
        assert_problem(await refresh(client, ada["refresh_token"]), 401, "refresh_invalid")


async def test_admins_need_no_second_factor_where_that_is_not_demanded(
    database_url: str, tmp_path: Path
) -> None:
    async with started(app := app_on(database_url, tmp_path)) as client:
        root = await of_role(app, client, Role.ADMIN, "root@example.test")
        assert (await client.get(f"{API}/admin/users", headers=bearer(root))).status_code == 200
        assert (await logged_in(client, "root@example.test"))["user"]["role"] == "admin"
