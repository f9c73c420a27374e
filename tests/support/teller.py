"""The real bank over HTTP for the tests of accounts and transfers: customers, money, the clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
from fastapi import FastAPI

from guilder.api.schema import ResponseBody
from guilder.core.actor import SYSTEM
from guilder.core.clock import from_datetime
from guilder.core.permissions import Role
from guilder.domains.ledger.commands import SetBankClock, set_bank_clock
from guilder.infra.process.settings import Settings
from tests.support.app import PRODUCTION, bank_of, client_of, made
from tests.support.books import Books, problems, read_books
from tests.support.builders import a_user
from tests.support.constants import API, PASSWORD
from tests.support.declared import closed_schema

NOBODYS = "01999999-0000-7000-8000-000000000001"
"""An id that no account and no transfer has."""

type Body = dict[str, Any]


@dataclass
class Customer:
    """Somebody who is signed in."""

    client: httpx.AsyncClient
    id: str

    async def get(self, path: str, **query: object) -> httpx.Response:
        params = {name: str(value) for name, value in query.items()}
        return await self.client.get(path, params=params or None)

    async def post(
        self, path: str, body: object, key: str | None = None, **query: str
    ) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.client.post(path, json=body, headers=headers, params=query)

    async def read(self, path: str, **query: object) -> Body:
        """The body of a GET that succeeds."""
        return answered(await self.get(path, **query), 200)

    async def open(self, currency: str = "USD", funds: int = 0, **more: str) -> Body:
        """A new account, with money from outside when wanted."""
        body = {"type": "checking", "currency": currency} | more
        account = answered(await self.post("/accounts", body), 201)
        if funds:
            await self.deposit(account, funds)
        return account

    async def deposit(self, account: Body, amount: int) -> Body:
        body = {"account_id": account["id"], "amount": amount, "currency": account["currency"]}
        return answered(await self.post("/simulations/deposits", body), 201)

    async def pay(self, source: Body, target: Body, amount: int, **more: object) -> Body:
        """A transfer that is accepted."""
        return answered(await self.post("/transfers", asked(source, target, amount, **more)), 201)

    async def balance(self, account: Body) -> int:
        found: int = (await self.read(f"/accounts/{account['id']}"))["balance"]
        return found


@dataclass
class Desk:
    """A running bank and its database."""

    app: FastAPI
    url: str
    _names: Any = field(default_factory=count)

    async def sign_up(self, role: Role = Role.USER) -> Customer:
        """Somebody new."""
        auth, runner = bank_of(self.app).authentication, bank_of(self.app).runner
        email = f"customer{next(self._names)}@example.test"
        user = await a_user(runner, email, await auth.hash_password(PASSWORD, email), role=role)
        client = self.client()
        session = await client.post("/sessions", json={"email": email, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answered(session, 201)['access_token']}"
        return Customer(client, str(user.id))

    def client(self) -> httpx.AsyncClient:
        """A client that is not signed in."""
        return client_of(self.app, API)

    async def set_clock(self, instant: str) -> None:
        """Move the bank's time, in every process."""
        command = SetBankClock(from_datetime(datetime.fromisoformat(instant)))
        await bank_of(self.app).runner.run(set_bank_clock, command, SYSTEM)

    async def books(self) -> Books:
        """Every row of the ledger, found sound."""
        books = await read_books(self.url)
        assert not (found := problems(books)), found
        return books


@asynccontextmanager
async def opened_desk(url: str, folder: Path, env: str = "test") -> AsyncIterator[Desk]:
    """The bank in business on a migrated database."""
    given = {"env": env, "data_dir": folder, "database_url": url, "secret_key": "s" * 32}
    given |= PRODUCTION if env == "production" else {"rate_limits": False}
    app = made(Settings.model_validate(given))
    async with app.router.lifespan_context(app):
        yield Desk(app, url)


def conforms(model: type[ResponseBody], body: object) -> None:
    """The body is what the reference says of it, no field more."""
    schema = closed_schema(model.model_json_schema(mode="serialization"))
    inner = schema.get("$defs", {})
    schema |= {"$defs": {name: closed_schema(found) for name, found in inner.items()}}
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(body)


def answered(response: httpx.Response, status: int) -> Body:
    """The body of an answer with the expected status."""
    assert response.status_code == status, response.text
    body: Body = response.json()
    return body


def refused(response: httpx.Response, status: int, code: str) -> Body:
    """The problem in an answer: the expected status and code, in the one form."""
    body = answered(response, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert (body["code"], body["status"]) == (code, status)
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def pointers(problem: Body) -> list[tuple[str, str]]:
    """Where and how the fields are broken."""
    return [(place_of(error), error["code"]) for error in problem["errors"]]


def place_of(error: Body) -> str:
    """A pointer into the body, or the name of a parameter or header; one of the three."""
    [where] = [error[name] for name in ("pointer", "parameter", "header") if name in error]
    return str(where)


def asked(source: Body, target: Body, amount: object, **more: object) -> Body:
    """The body of a transfer; a change to ``...`` takes the field away."""
    body = {"from_account_id": source["id"], "to_account_id": target["id"], "amount": amount}
    return {name: value for name, value in (body | more).items() if value is not ...}
