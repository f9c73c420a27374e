"""Who and what there is in the bank that the tests of access ask, made once for all of them."""

from base64 import b32decode
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from guilder.core.actor import SYSTEM
from guilder.core.permissions import Role
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.ledger.commands import SetLimit, set_limit
from guilder.domains.ledger.rules.state import Kind, Posting, Unit
from tests.access.world import (
    ACCOUNT,
    AMOUNT,
    API,
    PASSWORD,
    Facts,
    World,
    bearer,
    email_of,
    keyed,
)
from tests.domains.identity.codes import code_at
from tests.support.app import app_on, bank_of, started
from tests.support.authenticator import Authenticator


async def make(url: str, folder: Path) -> Facts:
    """Fill an empty bank."""
    app = app_on(url, folder)
    async with started(app) as client:
        return await _filled(app, client, url, folder)


async def built(app: FastAPI, client: httpx.AsyncClient) -> World:
    """The world in a bank that runs already."""
    settings = bank_of(app).settings
    return World(app, client, await _filled(app, client, settings.database, settings.data_dir))


async def _filled(app: FastAPI, client: httpx.AsyncClient, url: str, folder: Path) -> Facts:
    maker = Maker(app, client)
    await maker.persons()
    ids = await maker.adas()
    await maker.bobs()
    await maker.bad_tokens()
    return Facts(url, folder, maker.people, ids, maker.tokens, maker.refresh)


class Maker:
    """Makes it, over HTTP where there is a way."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.people: dict[str, UUID] = {}
        self.tokens: dict[str, str] = {}
        self.refresh = ""
        self._bank = bank_of(app)
        self._client = client
        self._phone = Authenticator(self._bank.settings.address)

    async def persons(self) -> None:
        for name, role in (
            ("ada", Role.USER), ("bob", Role.USER), ("eve", Role.USER), ("ron", Role.READONLY),
            ("root", Role.ADMIN), ("off", Role.USER), ("rotated", Role.USER),
            ("zoe", Role.USER),
        ):  # fmt: skip
            await self.join(name, role)

    async def join(self, name: str, role: Role = Role.USER) -> None:
        """Let somebody in."""
        encoded = await self._bank.authentication.hash_password(PASSWORD, email_of(name))
        command = CreateUser(email_of(name), encoded, role=role)
        await self._bank.runner.run(create_user, command, SYSTEM)
        body = await self._login(name)
        self.people[name] = UUID(body["user"]["id"])
        self.tokens[name] = body["access_token"]

    async def adas(self) -> dict[str, str]:
        """The ids of all that can be Ada's."""
        account, other, transfer = await self._money("ada")
        second = await self._login("ada")
        passkey = await self._passkey("ada")
        self.refresh = second["refresh_token"]
        return {
            "account_id": account, "other_account_id": other, "transfer_id": transfer,
            "session_id": second["session"]["id"], "user_id": str(self.people["ada"]),
            "passkey_id": passkey["id"],
        }  # fmt: skip

    async def bobs(self) -> None:
        """A row in every table: a statement that forgets whose it changes, changes that."""
        account, other, _ = await self._money("bob", with_keys=True)
        await self._set_aside(account, other)
        for asked in ("email-verification-tokens", "password-reset-tokens"):
            await self._made("bob", asked, {"email": email_of("bob")})
        await self._made("bob", "users/me/email-changes", {"email": "bobby@example.test"})
        await self._passkey("bob")
        challenge = await self._made("bob", "passkeys/challenges")
        signed = self._phone.get(challenge["public_key"])
        await self._made("bob", "sessions/current/step-ups", {"credential": signed})
        secret = b32decode((await self._made("bob", "users/me/totp"))["secret"])
        code = code_at(secret, self._bank.clock)
        await self._made("bob", "users/me/totp/confirmations", {"code": code})
        assert (await self._login("bob", "a wrong password"))["code"] == "invalid_credentials"

    async def bad_tokens(self) -> None:
        """Let some tokens be good no more."""
        self.tokens["revoked"] = (await self._login("ada"))["access_token"]
        await self._client.delete(f"{API}/sessions/current", headers=bearer(self.tokens["revoked"]))
        root = bearer(self.tokens["root"])
        off = f"{API}/admin/users/{self.people['off']}"
        answer = await self._client.patch(off, json={"is_active": False}, headers=root)
        assert answer.status_code == 200, answer.text
        rotations = f"admin/users/{self.people['rotated']}/rotations"
        await self._made("root", rotations, {"reason": "stolen"})

    async def _money(self, who: str, *, with_keys: bool = False) -> tuple[str, str, str]:
        """Two accounts, and a transfer between them."""
        account = (await self._made(who, "accounts", ACCOUNT, with_key=with_keys))["id"]
        other = (await self._made(who, "accounts", ACCOUNT))["id"]
        deposit = {"account_id": account, **AMOUNT, "amount": 900}
        await self._made(who, "simulations/deposits", deposit, with_key=with_keys)
        transfer = {"from_account_id": account, "to_account_id": other, "amount": 5}
        transfer |= {"description": "Words"}
        made = await self._made(who, "transfers", transfer, with_key=with_keys)
        batch = {"transfers": [transfer]}
        await self._made(who, "transfers/batches", batch, with_key=with_keys)
        return account, other, made["id"]

    async def _set_aside(self, account: str, other: str) -> None:
        """A limit and a hold, which nobody can ask for over HTTP yet."""
        known = await self._bank.directory.resolve((account, other))
        debit, credit = known[account].number, known[other].number
        await self._bank.runner.run(set_limit, SetLimit(debit, "day", max_count=9), SYSTEM)
        hold = Posting(debit, credit, 1, "EUR", Kind.HOLD)
        (await self._bank.poster.submit(Unit([hold]))).results[0].raise_refused()

    async def _passkey(self, who: str) -> dict[str, Any]:
        options = await self._made(who, "passkeys/registrations")
        credential = self._phone.create(options["public_key"])
        return await self._made(who, "passkeys", {"name": "Phone", "credential": credential})

    async def _login(self, name: str, password: str = PASSWORD) -> dict[str, Any]:
        login = {"email": email_of(name), "password": password}
        body: dict[str, Any] = (await self._client.post(f"{API}/sessions", json=login)).json()
        return body

    async def _made(
        self, who: str, what: str, body: dict[str, Any] | None = None, *, with_key: bool = False
    ) -> dict[str, Any]:
        """With a key that anybody may think of as well: what is asked for."""
        headers = bearer(self.tokens[who]) | (keyed(what) if with_key else {})
        answer = await self._client.post(f"{API}/{what}", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made
