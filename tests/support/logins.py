"""Who signs up and in over HTTP, and what their tokens are good for."""

from typing import Any

import httpx
from fastapi import FastAPI

from guilder.core.permissions import Role
from tests.support.app import bank_of
from tests.support.builders import a_user
from tests.support.constants import API, EMAIL, PASSWORD

type Login = dict[str, Any]
"""The body of a login: user, session and tokens."""


async def signed_up(client: httpx.AsyncClient, email: str = EMAIL) -> Login:
    answer = await client.post(f"{API}/users", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return await logged_in(client, email)


async def logged_in(client: httpx.AsyncClient, email: str = EMAIL) -> Login:
    answer = await client.post(f"{API}/sessions", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    body: Login = answer.json()
    return body


async def of_role(app: FastAPI, client: httpx.AsyncClient, role: Role, email: str) -> Login:
    """Somebody of a role, signed in."""
    encoded = await bank_of(app).authentication.hash_password(PASSWORD, email)
    await a_user(bank_of(app).runner, email, encoded, role=role)
    return await logged_in(client, email)


def bearer(login: Login) -> dict[str, str]:
    return {"Authorization": f"Bearer {login['access_token']}"}


async def status_of(client: httpx.AsyncClient, login: Login) -> int:
    return (await client.get(f"{API}/users/me", headers=bearer(login))).status_code


async def refresh(client: httpx.AsyncClient, token: object) -> httpx.Response:
    return await client.post(f"{API}/tokens", json={"refresh_token": token})


def assert_problem(answer: httpx.Response, status: int, code: str, pointer: str = "") -> None:
    """A refusal in the one form, which does not repeat the password."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert PASSWORD not in answer.text
    if pointer:
        assert pointer in {error.get("pointer") for error in answer.json()["errors"]}
