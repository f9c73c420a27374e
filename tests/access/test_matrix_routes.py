"""Every operation of the reference, asked by everybody who may not, and by those who may.

Generated from OpenAPI: a new operation is in the matrix by being there, and fails until its path
parameters and its body are known here.
"""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI

from guilder.core.actor import FRESH_US, SYSTEM
from guilder.core.permissions import GRANTS, Permission, Role
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.identity.models import sessions
from guilder.infra.settings import Settings
from guilder.main import create_app
from tests.access.vectors import Known, Vector, refused
from tests.support.app import app_on, bank_of, started
from tests.support.authenticator import Authenticator

API = "/api/v1"
PASSWORD = "correct horse battery"
AMOUNT = {"amount": 1, "currency": "EUR"}


@dataclasses.dataclass(frozen=True)
class Operation:
    """One of the reference."""

    method: str
    path: str
    permission: Permission | None
    has_body: bool
    step_up: bool

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def operations() -> Iterator[Operation]:
    app = create_app(Settings.model_validate({"env": "test", "data_dir": Path("unused")}))
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            named = operation.get("x-permission")
            permission = None if named is None else Permission(named)
            yield Operation(
                method.upper(), path, permission, "requestBody" in operation,
                operation.get("x-step-up", False),
            )  # fmt: skip


ALL = list(operations())
PROTECTED = [one for one in ALL if one.permission is not None]
WITH_ID = [one for one in PROTECTED if "{" in one.path]


class World:
    """Ada with all that can be hers, and others with nothing."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.vectors: list[Vector] = []
        self.phone = Authenticator(bank_of(app).settings.address)

    async def build(self) -> None:
        ada = await self._person("ada", Role.USER)
        for name, role in (
            ("eve", Role.USER), ("ron", Role.READONLY), ("root", Role.ADMIN), ("off", Role.USER),
            ("rotated", Role.USER),
        ):  # fmt: skip
            await self._person(name, role)
        account = await self._made("accounts", type="checking", currency="EUR")
        other = await self._made("accounts", type="savings", currency="EUR")
        await self._made(
            "simulations/deposits", account_id=account["id"], amount=900, currency="EUR"
        )
        transfer = await self._made(
            "transfers", from_account_id=account["id"], to_account_id=other["id"], amount=5
        )
        second = await self._login("ada")
        passkey = await self._passkey()
        self.ids = {
            "account_id": account["id"], "other_account_id": other["id"],
            "transfer_id": transfer["id"], "session_id": second["session"]["id"],
            "user_id": ada["user"]["id"], "passkey_id": passkey["id"],
        }  # fmt: skip
        await self._bad_tokens(ada)

    async def _person(self, name: str, role: Role) -> dict[str, Any]:
        email = f"{name}@example.test"
        encoded = await bank_of(self.app).authentication.hashed(PASSWORD, email)
        command = CreateUser(email, encoded, role=role)
        await bank_of(self.app).runner.run(create_user, command, SYSTEM)
        body = await self._login(name)
        self.tokens[name] = body["access_token"]
        return body

    async def _login(self, name: str) -> dict[str, Any]:
        login = {"email": f"{name}@example.test", "password": PASSWORD}
        body: dict[str, Any] = (await self.client.post(f"{API}/sessions", json=login)).json()
        return body

    async def _made(self, what: str, **body: object) -> dict[str, Any]:
        answer = await self.client.post(f"{API}/{what}", json=body, headers=self.as_("ada"))
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def _passkey(self) -> dict[str, Any]:
        options = await self._made("passkeys/registrations")
        credential = self.phone.create(options["public_key"])
        return await self._made("passkeys", name="Phone", credential=credential)

    async def _bad_tokens(self, ada: dict[str, Any]) -> None:
        """Tokens that were good once, or are good for something else."""
        revoked = await self._login("ada")
        await self.client.delete(f"{API}/sessions/current", headers=bearer(revoked["access_token"]))
        off = self.tokens["off"]
        await self.client.patch(
            f"{API}/admin/users/{claims_of(off)['sub']}",
            json={"is_active": False},
            headers=self.as_("root"),
        )
        await self.client.post(
            f"{API}/admin/users/{claims_of(self.tokens['rotated'])['sub']}/rotations",
            json={"reason": "stolen"},
            headers=self.as_("root"),
        )
        eve = claims_of(self.tokens["eve"])
        self.vectors = refused(
            Known(
                good=ada["access_token"],
                secret=bank_of(self.app).keys.signing.current().value,
                refresh=ada["refresh_token"],
                other_user=eve["sub"],
                other_session=eve["sid"],
                others={
                    "of an ended session": revoked["access_token"],
                    "of one switched off": off,
                    "of one rotated": self.tokens["rotated"],
                },
            )
        )

    def as_(self, name: str) -> dict[str, str]:
        token = self.tokens[name]
        return bearer(token) if token else {}

    async def ask(self, operation: Operation, name: str, **ids: str) -> httpx.Response:
        """What somebody is answered who asks for what is Ada's."""
        known = self.ids | ids
        path = operation.path.format_map(known)
        body = self.body(operation, known) if operation.has_body else None
        return await self.client.request(
            operation.method, path, json=body, params=QUERIES.get(operation.name),
            headers=self.as_(name),
        )  # fmt: skip

    async def show(self, operation: Operation, vector: Vector) -> httpx.Response:
        """What an operation answers to a vector, before it looks at anything else."""
        path = operation.path.format_map(self.ids)
        return await self.client.request(
            operation.method, f"{path}?{vector.query}", headers=vector.headers
        )

    def body(self, operation: Operation, ids: dict[str, str]) -> dict[str, Any]:
        """A sound body about what is Ada's."""
        account, other = ids["account_id"], ids["other_account_id"]
        transfer = {"from_account_id": account, "to_account_id": other, "amount": 1}
        bodies: dict[str, dict[str, Any]] = {
            "POST /api/v1/accounts": {"type": "checking", "currency": "EUR"},
            "POST /api/v1/transfers": transfer,
            "POST /api/v1/transfers/batches": {"transfers": [transfer]},
            "POST /api/v1/simulations/deposits": {"account_id": account, **AMOUNT},
            "PUT /api/v1/simulations/clock": {"advance_seconds": 1},
            "PATCH /api/v1/users/me": {"full_name": "Ada"},
            "PUT /api/v1/users/me/password": {
                "current_password": PASSWORD, "new_password": PASSWORD,
            },
            "PATCH /api/v1/admin/users/{user_id}": {"is_active": True},
            "POST /api/v1/admin/users/{user_id}/rotations": GRACE,
            "POST /api/v1/admin/security/rotations": GRACE,
            "POST /api/v1/users/me/totp/confirmations": {"code": "000000"},
            "POST /api/v1/sessions/current/step-ups": {"password": PASSWORD},
            "POST /api/v1/passkeys": {"name": "Phone", "credential": self.phone.create(ANYTHING)},
        }  # fmt: skip
        return bodies[operation.name]


GRACE = {"reason": "a drill", "grace_seconds": 86_400}
"""A rotation that leaves everybody in for as long as a test takes."""
ANYTHING = {"user": {"id": "eA"}, "rp": {"id": "localhost"}, "challenge": "eA"}
"""Options that nobody has given: what a passkey made with them is refused for is not access."""
NOT_AS_THEY_STAND = {
    "POST /api/v1/users/me/totp/confirmations": "totp_not_found",
    "POST /api/v1/users/me/recovery-codes": "totp_not_found",
    "POST /api/v1/passkeys": "wrong_factor",
}
"""What the owner is refused as well, who is let through to be told just that."""
QUERIES = {"GET /api/v1/accounts/{account_id}/statement": {"month": "2020-01"}}
"""What a query must have; a month before the opening is refused only to those who may ask."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    app = app_on(database_url, tmp_path)
    async with started(app) as client:
        made = World(app, client)
        await made.build()
        yield made


async def test_who_has_no_good_token_is_refused_by_every_operation(world: World) -> None:
    """Each vector by each operation, in between two proofs that the good token works."""
    names = [vector.name for vector in world.vectors]
    assert len(set(names)) == len(names) >= 60
    assert len(PROTECTED) >= 20
    await _the_good_token_works(world)
    wrong = [
        f"{operation.name}, {vector.name}: {answer.status_code} {answer.text[:200]}"
        for operation in PROTECTED
        for vector in world.vectors
        if not _is_refusal(answer := await world.show(operation, vector), vector)
    ]
    assert wrong == []
    await _the_good_token_works(world)


def _is_refusal(answer: httpx.Response, vector: Vector) -> bool:
    return (
        answer.status_code == vector.status
        and answer.json().get("code") == vector.code
        and answer.headers["content-type"] == "application/problem+json"
        and (vector.status != 401 or answer.headers.get("www-authenticate") == "Bearer")
    )


async def _the_good_token_works(world: World) -> None:
    """Under any spelling of the scheme: so it is the vectors that are refused, and not Ada."""
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer "):
        headers = {"Authorization": f"{scheme} {world.tokens['ada']}"}
        answer = await world.client.get(f"{API}/users/me", headers=headers)
        assert (answer.status_code, answer.json()["email"]) == (200, "ada@example.test")


@pytest.mark.parametrize(
    ("name", "role"), [("eve", Role.USER), ("ron", Role.READONLY), ("root", Role.ADMIN)]
)
async def test_a_role_is_let_through_where_it_has_the_permission_and_nowhere_else(
    world: World, name: str, role: Role
) -> None:
    for operation in PROTECTED:
        answer = await world.ask(operation, name)
        told = f"{operation.name} as {role}: {answer.status_code} {answer.text}"
        if operation.permission in GRANTS[role]:
            assert answer.status_code not in {401, 500}, told
            assert answer.json()["code"] != "forbidden" if answer.status_code == 403 else True, told
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), told
        if operation.name == "DELETE /api/v1/sessions/current":
            world.tokens[name] = (await world._login(name))["access_token"]


async def test_what_is_anothers_is_not_found(world: World) -> None:
    """The same answer as for what does not exist."""
    nothing = dict.fromkeys(world.ids, "0198c6ba-0000-7000-8000-000000000000")
    for operation in WITH_ID:
        if operation.permission not in GRANTS[Role.USER]:
            continue
        for ids in ({}, nothing):
            answer = await world.ask(operation, "eve", **ids)
            told = f"{operation.name}: {answer.status_code} {answer.text}"
            assert answer.status_code == 404, told
            assert answer.json()["code"].endswith("_not_found"), told


@pytest.mark.parametrize(
    "path", [f"{API}/transfers", f"{API}/simulations/deposits", f"{API}/transfers/batches"]
)
async def test_nobody_moves_anothers_money(world: World, path: str) -> None:
    operation = next(one for one in ALL if one.path == path and one.method == "POST")
    before = await _balances(world)
    answer = await world.ask(operation, "eve")
    if path.endswith("batches"):
        assert answer.json()["results"][0]["code"] == "account_not_found"
    else:
        assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")
    assert await _balances(world) == before


async def test_the_owner_is_let_through(world: World) -> None:
    for operation in PROTECTED:
        if operation.permission in GRANTS[Role.USER]:
            answer = await world.ask(operation, "ada")
            told = f"{operation.name}: {answer.status_code} {answer.text}"
            if expected := NOT_AS_THEY_STAND.get(operation.name):
                assert answer.json()["code"] == expected, told
            else:
                assert answer.status_code < 300 or operation.name in QUERIES, told
            world.tokens["ada"] = (await world._login("ada"))["access_token"]


async def test_a_session_that_was_not_proved_lately_is_asked_to_step_up(world: World) -> None:
    async with bank_of(world.app).database.begin() as connection:
        earlier = sessions.c.proved_at - FRESH_US
        await connection.execute(sessions.update().values(proved_at=earlier))
    bank_of(world.app).tokens.forget()
    asked = [one for one in PROTECTED if one.step_up]
    assert len(asked) >= 6
    for operation in asked:
        for name, role in (("ada", Role.USER), ("ron", Role.READONLY), ("root", Role.ADMIN)):
            answer = await world.ask(operation, name)
            told = f"{operation.name} as {name}: {answer.status_code} {answer.text}"
            code = "step_up_required" if operation.permission in GRANTS[role] else "forbidden"
            assert (answer.status_code, answer.json()["code"]) == (403, code), told


async def _balances(world: World) -> list[int]:
    page = (await world.client.get(f"{API}/accounts", headers=world.as_("ada"))).json()
    return [account["balance"] for account in page["items"]]
