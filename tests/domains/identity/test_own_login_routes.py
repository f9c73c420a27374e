"""One's own address changed and undone, one's login closed, and how long sessions last."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from guilder.core.actor import SYSTEM
from guilder.core.clock import DAY_US
from guilder.core.permissions import Role
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.verification import verify_view
from tests.db import owner
from tests.domains.identity.mailbox import (
    Mailbox,
    delivered,
    post,
    proved,
    text_of,
    token_in,
    with_mail,
)
from tests.support.app import bank_of, made, started
from tests.support.constants import API, EMAIL, PASSWORD
from tests.support.logins import (
    Login,
    assert_problem,
    bearer,
    logged_in,
    refresh,
    status_of,
)

NEW = "ada.new@example.test"
ANOTHER = "another phrase 12"
CHANGED = "Your e-mail address was changed"
CONFIRM = "Confirm your new e-mail address"


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


@pytest.fixture
async def ada(client: httpx.AsyncClient, box: Mailbox) -> Login:
    await proved(client, box)
    return await logged_in(client)


async def ask_change(client: httpx.AsyncClient, who: Login, address: str = NEW) -> httpx.Response:
    path = f"{API}/users/me/email-changes"
    return await client.post(path, json={"email": address}, headers=bearer(who))


async def reverse(client: httpx.AsyncClient, token: str, new: str = ANOTHER) -> httpx.Response:
    return await post(client, "email-change-reversals", token=token, new_password=new)


async def changed(client: httpx.AsyncClient, box: Mailbox, who: Login, address: str = NEW) -> None:
    assert (await ask_change(client, who, address)).status_code == 201
    token = await box.token(CONFIRM)
    assert (await post(client, "email-changes", token=token)).status_code == 201


async def test_an_address_is_changed_once_the_new_one_is_proved(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    assert (await ask_change(client, ada)).status_code == 201
    letter = await box.next()
    assert (letter["Subject"], letter["To"]) == (CONFIRM, NEW)
    await logged_in(client)  # nothing has changed yet
    await client.post(f"{API}/password-reset-tokens", json={"email": EMAIL})
    reset = await box.token("Set a new password")
    assert (await post(client, "email-changes", token=token_in(letter))).status_code == 201
    told = await box.next()
    assert (told["Subject"], told["To"]) == (CHANGED, EMAIL)
    assert "another e-mail address now: a***@example.test." in text_of(told)
    old = await post(client, "sessions", email=EMAIL, password=PASSWORD)
    assert_problem(old, 401, "invalid_credentials")
    assert (await logged_in(client, NEW))["user"]["email"] == NEW
    stale = await post(client, "password-resets", token=reset, new_password="another phrase 12")
    assert_problem(stale, 400, "token_invalid")  # it went to the old address
    assert await status_of(client, ada) == 200


async def test_the_old_address_undoes_a_change_for_seven_days(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    await changed(client, box, ada)
    undo = await box.token(CHANGED)
    await ask_change(client, ada, "eve@example.test")  # the thief goes on
    second = await box.token(CONFIRM)
    await post(client, "email-changes", token=second)
    another_undo = await box.token(CHANGED)
    await delivered(app)
    await owner.execute(
        bank_of(app).settings.database,
        f"UPDATE identity_letters SET expires_at = expires_at - {7 * DAY_US - 60_000_000}",
    )
    assert_problem(await reverse(client, undo, "x" * 12), 422, "weak_password", "/new_password")
    assert (await reverse(client, undo)).status_code == 201
    assert await status_of(client, ada) == 401
    assert_problem(await reverse(client, undo), 400, "token_invalid")
    assert_problem(await reverse(client, another_undo), 400, "token_invalid")  # the thief's way
    told = await box.next()
    assert (told["Subject"], told["To"]) == ("Your password was changed", EMAIL)
    stolen = await post(client, "sessions", email=EMAIL, password=PASSWORD)
    assert_problem(stolen, 401, "invalid_credentials")  # the thief knew it
    assert (await post(client, "sessions", email=EMAIL, password=ANOTHER)).status_code == 201


async def test_undoing_a_later_change_does_not_end_the_way_back_from_the_first(
    client: httpx.AsyncClient, box: Mailbox, ada: Login
) -> None:
    await changed(client, box, ada, "thief1@example.test")
    owners = await box.token(CHANGED)
    await changed(client, box, ada, "thief2@example.test")
    thiefs = await box.token(CHANGED)
    assert (await reverse(client, thiefs)).status_code == 201
    await box.next()  # that the password was changed
    assert (await reverse(client, owners, "the owner's own phrase")).status_code == 201
    signed_in = await post(client, "sessions", email=EMAIL, password="the owner's own phrase")
    assert signed_in.json()["user"]["id"] == ada["user"]["id"]


async def test_undoing_a_change_voids_what_was_sent_to_the_new_address(
    client: httpx.AsyncClient, box: Mailbox, ada: Login
) -> None:
    await changed(client, box, ada)
    undo = await box.token(CHANGED)
    await post(client, "password-reset-tokens", email=NEW)
    thiefs = await box.token("Set a new password")
    assert (await reverse(client, undo)).status_code == 201
    late = await post(client, "password-resets", token=thiefs, new_password="another phrase 13")
    assert_problem(late, 400, "token_invalid")


@pytest.mark.parametrize("way", ["change", "undo"])
async def test_who_proves_an_address_gets_it_from_who_has_not(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login, way: str
) -> None:
    address, undo = NEW, ""
    if way == "undo":
        await changed(client, box, ada)
        address, undo = EMAIL, await box.token(CHANGED)
    squatter = await post(client, "users", email=address, password=PASSWORD)
    pending = await box.token("Confirm your e-mail address")
    if way == "undo":
        assert (await reverse(client, undo)).status_code == 201
        owned = await post(client, "sessions", email=EMAIL, password=ANOTHER)
    else:
        await changed(client, box, ada)
        owned = await post(client, "sessions", email=NEW, password=PASSWORD)
    assert owned.json()["user"]["id"] == ada["user"]["id"]
    late = await post(client, "email-verifications", token=pending)
    assert_problem(late, 400, "token_invalid")  # else two logins had one proved address
    await delivered(app)
    rows = await owner.rows(
        bank_of(app).settings.database,
        "SELECT email_verified FROM identity_users ORDER BY created_at",
    )
    assert [bool(row[0]) for row in rows] == [True, False]
    told = await owner.rows(
        bank_of(app).settings.database,
        "SELECT subject, detail FROM audit_events WHERE detail LIKE '%taken_from%'",
    )
    assert [row[0] for row in told] == [ada["user"]["id"]]
    assert json.loads(told[0][1])["taken_from"] == squatter.json()["id"]


async def test_who_has_proved_the_old_address_keeps_it_from_an_undo(
    client: httpx.AsyncClient, box: Mailbox, ada: Login
) -> None:
    await changed(client, box, ada)
    undo = await box.token(CHANGED)
    await proved(client, box)
    assert_problem(await reverse(client, undo), 409, "email_taken")


async def test_a_second_click_on_a_new_address_says_that_it_is_confirmed(
    client: httpx.AsyncClient, box: Mailbox, ada: Login
) -> None:
    await ask_change(client, ada)
    token = await box.token(CONFIRM)
    assert (await post(client, "email-changes", token=token)).status_code == 201
    again = await post(client, "email-changes", token=token)
    assert_problem(again, 400, "token_invalid")
    assert again.json()["already_confirmed"] is True
    undo = await box.token(CHANGED)
    assert "already_confirmed" not in (await post(client, "email-changes", token=undo)).json()
    assert (await reverse(client, undo)).status_code == 201
    assert "already_confirmed" not in (await post(client, "email-changes", token=token)).json()


async def test_a_device_is_told_as_new_after_a_change_of_address(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    await changed(client, box, ada)
    await box.token(CHANGED)
    await logged_in(client, NEW)
    await delivered(app)
    assert box.subjects() == ["New sign-in to your account"]


async def test_a_change_cannot_be_undone_after_seven_days(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    await changed(client, box, ada)
    undo = await box.token(CHANGED)
    await delivered(app)
    await owner.execute(
        bank_of(app).settings.database,
        f"UPDATE identity_letters SET expires_at = expires_at - {7 * DAY_US}",
    )
    assert_problem(await reverse(client, undo), 400, "token_expired")


async def test_asking_for_somebody_elses_address_tells_nothing(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    await proved(client, box, "bob@example.test")
    taken = await ask_change(client, ada, "bob@example.test")
    free = await ask_change(client, ada, NEW)
    assert (taken.status_code, taken.json()) == (free.status_code, free.json())
    await delivered(app)
    assert box.subjects() == [CONFIRM]
    first = await ask_change(client, ada, "late@example.test")
    assert first.status_code == 201
    token = await box.token(CONFIRM)
    await proved(client, box, "late@example.test")
    assert_problem(await post(client, "email-changes", token=token), 409, "email_taken")


async def test_changes_are_bounded_and_need_a_step_up(
    client: httpx.AsyncClient, app: FastAPI, ada: Login
) -> None:
    for number in range(5):
        answer = await ask_change(client, ada, f"ada{number}@example.test")
        assert answer.status_code == 201
    assert_problem(await ask_change(client, ada), 429, "rate_limited")
    told = await owner.rows(
        bank_of(app).settings.database,
        "SELECT subject FROM audit_events WHERE code = 'rate_limited'",
    )
    assert told == [(ada["user"]["id"],)]
    await grow_old(app)
    assert_problem(await ask_change(client, ada), 403, "step_up_required")
    answer = await client.delete(f"{API}/users/me", headers=bearer(ada))
    assert_problem(answer, 403, "step_up_required")


@pytest.mark.parametrize("way", ["reset", "change"])
async def test_a_new_password_ends_a_change_that_was_asked_for(
    client: httpx.AsyncClient, box: Mailbox, ada: Login, way: str
) -> None:
    await ask_change(client, ada, "thief@example.test")
    pending = await box.token(CONFIRM)
    if way == "reset":
        await post(client, "password-reset-tokens", email=EMAIL)
        token = await box.token("Set a new password")
        done = await post(client, "password-resets", token=token, new_password=ANOTHER)
    else:
        body = {"current_password": PASSWORD, "new_password": ANOTHER}
        path = f"{API}/users/me/password"
        done = await client.put(path, json=body, headers=bearer(ada))
    assert done.is_success, done.text
    assert_problem(await post(client, "email-changes", token=pending), 400, "token_invalid")


async def test_a_changed_address_is_found_and_compared_as_a_new_one_is(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    address = "Änne@faß.example"
    await ask_change(client, ada, address)
    token = await box.token(CONFIRM)
    assert (await post(client, "email-changes", token=token)).status_code == 201
    root = await of_role_proved(app, client)
    for text, hits in (("änne", 1), ("FASS", 1), ("ada@", 0)):
        found = await client.get(f"{API}/admin/users", params={"q": text}, headers=bearer(root))
        assert len(found.json()["items"]) == hits, text
    assert (await logged_in(client, "änne@xn--fa-hia.example"))["user"]["id"] == ada["user"]["id"]
    other = await post(client, "sessions", email="änne@fass.example", password=PASSWORD)
    assert_problem(other, 401, "invalid_credentials")


async def test_who_closes_a_login_may_not_miss_money_that_arrives(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    await proved(client, box, "bob@example.test")
    bob = await logged_in(client, "bob@example.test")
    his, hers = await opened(client, bob), await opened(client, ada)
    money = {"account_id": his["id"], "amount": 100, "currency": "EUR"}
    await client.post(f"{API}/simulations/deposits", json=money, headers=bearer(bob))
    paid = {"from_account_id": his["id"], "to_account_id": hers["id"], "amount": 1}

    async def pay() -> httpx.Response:
        return await client.post(f"{API}/transfers", json=paid, headers=bearer(bob))

    async def close() -> httpx.Response:
        return await client.delete(f"{API}/users/me", headers=bearer(ada))

    answers = await asyncio.gather(pay(), close(), pay(), opening(client, ada), pay())
    closed, arrived = answers[1], [one.status_code for one in answers[::2]].count(201)
    assert (closed.status_code, arrived > 0) in {(204, False), (409, True)}
    if closed.status_code == 204:
        assert_problem(await pay(), 409, "account_closed")
        root = await of_role_proved(app, client)
        shown = await client.get(f"{API}/accounts/{hers['id']}", headers=bearer(root))
        assert (shown.json()["status"], shown.json()["balance"]) == ("closed", 0)
    left = await owner.rows(
        bank_of(app).settings.database,
        "SELECT a.status FROM accounts a JOIN identity_users u ON u.id = a.owner_user_id "
        "WHERE u.closed_at IS NOT NULL AND a.status <> 'closed'",
    )
    assert left == []


async def opening(client: httpx.AsyncClient, who: Login) -> httpx.Response:
    new = {"type": "checking", "currency": "EUR"}
    return await client.post(f"{API}/accounts", json=new, headers=bearer(who))


async def opened(client: httpx.AsyncClient, who: Login) -> Any:
    answer = await opening(client, who)
    assert answer.status_code == 201
    return answer.json()


async def grow_old(app: FastAPI) -> None:
    """All sessions were proved long ago."""
    await delivered(app)
    await owner.execute(
        bank_of(app).settings.database, "UPDATE identity_sessions SET proved_at = 0"
    )
    bank_of(app).tokens.forget()


async def test_only_the_newest_request_is_good(
    client: httpx.AsyncClient, box: Mailbox, ada: Login
) -> None:
    await ask_change(client, ada, "typo@example.test")
    first = await box.token(CONFIRM)
    await ask_change(client, ada)
    second = await box.token(CONFIRM)
    assert_problem(await post(client, "email-changes", token=first), 400, "token_invalid")
    assert (await post(client, "email-changes", token=second)).status_code == 201


async def test_a_login_is_closed_once_no_account_holds_money(
    client: httpx.AsyncClient, app: FastAPI, box: Mailbox, ada: Login
) -> None:
    async def asked(method: str, path: str, body: Any = None) -> httpx.Response:
        return await client.request(method, f"{API}/{path}", json=body, headers=bearer(ada))

    account = (await asked("POST", "accounts", {"type": "checking", "currency": "EUR"})).json()
    other = (await asked("POST", "accounts", {"type": "checking", "currency": "EUR"})).json()
    money = {"account_id": account["id"], "amount": 5, "currency": "EUR"}
    await asked("POST", "simulations/deposits", money)
    assert_problem(await asked("DELETE", "users/me"), 409, "accounts_hold_money")
    await proved(client, box, "bob@example.test")
    bob = await logged_in(client, "bob@example.test")
    path, new = f"{API}/accounts", {"type": "checking", "currency": "EUR"}
    his = (await client.post(path, json=new, headers=bearer(bob))).json()
    paid = {"from_account_id": account["id"], "to_account_id": his["id"], "amount": 5}
    assert (await asked("POST", "transfers", paid)).status_code == 201
    assert other["balance"] == 0
    assert (await asked("DELETE", "users/me")).status_code == 204
    url = bank_of(app).settings.database
    hers = f"SELECT ending FROM identity_sessions WHERE user_id = '{ada['user']['id']}'"
    assert set(await owner.rows(url, hers)) == {("login_closed",)}
    assert await status_of(client, ada) == 401
    assert_problem(await refresh(client, ada["refresh_token"]), 401, "refresh_invalid")
    gone = await post(client, "sessions", email=EMAIL, password=PASSWORD)
    assert_problem(gone, 401, "invalid_credentials")
    letter = await box.next()
    assert (letter["Subject"], letter["To"]) == ("Your login was closed", EMAIL)
    root = await of_role_proved(app, client)
    path = f"{API}/admin/users/{ada['user']['id']}"
    answer = await client.patch(path, json={"is_active": True}, headers=bearer(root))
    assert_problem(answer, 409, "login_closed")
    runner = bank_of(app).runner
    found = await runner.view(verify_view, runner.signer)
    assert found.broken is None, list(found.lines())
    await proved(client, box)  # the address is free again
    assert (await logged_in(client))["user"]["id"] != ada["user"]["id"]


async def of_role_proved(app: FastAPI, client: httpx.AsyncClient) -> Login:
    encoded = await bank_of(app).authentication.hash_password(PASSWORD, "root@example.test")
    command = CreateUser("root@example.test", encoded, role=Role.ADMIN, email_verified=True)
    await bank_of(app).runner.run(create_user, command, SYSTEM)
    return await logged_in(client, "root@example.test")


async def test_the_last_admin_cannot_close_their_login(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    root = await of_role_proved(app, client)
    answer = await client.delete(f"{API}/users/me", headers=bearer(root))
    assert_problem(answer, 409, "last_admin")
