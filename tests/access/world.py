"""A bank with everybody in it whom the tests of access need, and how they ask for what is Ada's."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
from fastapi import FastAPI

from guilder.core.permissions import Permission
from guilder.domains.identity.models import sessions
from guilder.infra.process.settings import Settings
from guilder.infra.security.tokens import AccessTokens
from guilder.main import create_app
from tests.access.vectors import Known, Vector, refused
from tests.support.app import bank_of
from tests.support.authenticator import Authenticator

API = "/api/v1"
PASSWORD = "correct horse battery"
ACCOUNT = {"type": "checking", "currency": "EUR"}
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


CLOSING = "DELETE /api/v1/users/me"
ALL = sorted(operations(), key=lambda one: one.name == CLOSING)
"""Every operation; after the last one its caller is nobody any more."""
PROTECTED = [one for one in ALL if one.permission is not None]
WITH_ID = [one for one in PROTECTED if "{" in one.path]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What stays the same however often a bank is copied: keys, ids, and a token of each person.

    The tokens may have grown old; ``World.issued`` makes new ones for the same sessions.
    """

    url: str
    folder: Path
    people: dict[str, UUID]
    ids: dict[str, str]
    tokens: dict[str, str]
    refresh: str


class World:
    """Ada and Bob with all that can be theirs, he with an app; others with nothing."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient, facts: Facts) -> None:
        self.app = app
        self.client = client
        self.people = facts.people
        self.ids = facts.ids
        self.phone = Authenticator(bank_of(app).settings.address)
        self.tokens = {name: self.issued(token) for name, token in facts.tokens.items()}
        self._refresh = facts.refresh

    def issued(self, token: str) -> str:
        """The same token as if it had been issued now."""
        old = claims_of(token)
        tokens = AccessTokens(bank_of(self.app).keys.signing, bank_of(self.app).clock)
        return tokens.issue(UUID(old["sub"]), UUID(old["sid"]), old["ver"])

    async def prove(self, earlier_us: int = 0) -> None:
        """Let all sessions have been proved now, or so long ago."""
        proved_at = bank_of(self.app).clock.now_us() - earlier_us
        async with bank_of(self.app).database.begin() as connection:
            await connection.execute(sessions.update().values(proved_at=proved_at))
        bank_of(self.app).tokens.forget()

    async def login(self, name: str) -> dict[str, Any]:
        login = {"email": email_of(name), "password": PASSWORD}
        body: dict[str, Any] = (await self.client.post(f"{API}/sessions", json=login)).json()
        return body

    def vectors(self) -> list[Vector]:
        """Tokens that were good once, or are good for something else, and worse."""
        eve = claims_of(self.tokens["eve"])
        return refused(
            Known(
                good=self.tokens["ada"],
                secret=bank_of(self.app).keys.signing.current().value,
                refresh=self._refresh,
                other_user=eve["sub"],
                other_session=eve["sid"],
                others={
                    "of an ended session": self.tokens["revoked"],
                    "of one switched off": self.tokens["off"],
                    "of one rotated": self.tokens["rotated"],
                },
            )
        )

    def as_(self, name: str) -> dict[str, str]:
        return bearer(self.tokens[name]) if name in self.tokens else {}

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
            "POST /api/v1/accounts": ACCOUNT,
            "POST /api/v1/transfers": transfer,
            "POST /api/v1/transfers/batches": {"transfers": [transfer]},
            "POST /api/v1/simulations/deposits": {"account_id": account, **AMOUNT},
            "PUT /api/v1/simulations/clock": {"advance_seconds": 1},
            "PATCH /api/v1/users/me": {"full_name": "Ada"},
            "POST /api/v1/users/me/email-changes": {"email": "another@example.test"},
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
QUERIES = {"GET /api/v1/accounts/{account_id}/statement": {"month": "2020-01"}}
"""What a query must have; a month before the opening is refused only to those who may ask."""


def email_of(name: str) -> str:
    return f"{name}@example.test"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims
