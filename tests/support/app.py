"""The application in this process, started and stopped around a client without a network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI
from starlette.routing import BaseRoute

from guilder.api.app import Api
from guilder.bootstrap import Bank
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.support.declared import check_declared

PRODUCTION: dict[str, object] = {
    "env": "production",
    "secret_key": "Zk3vQ9sLw0aTn7yRb5xHd1cGm8pJu4eF",
    "encryption_key": "h6WqYd2oRzK0tNf8LxBv4jSa9cMe1PgU",
    "base_url": "https://bank.example",
    "rate_limits": True,
}
"""Settings that production starts with; the keys are made for the tests."""


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application while it runs; what the application raises comes out here.

    An answer that the reference does not declare fails the test.
    """
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def client_of(app: FastAPI, below: str = "") -> httpx.AsyncClient:
    """A client of an application; an answer that the reference does not declare fails the test."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url=f"http://bank.test{below}",
        event_hooks={"response": [check_declared]},
    )


def made(settings: Settings, *, jobs: bool = False) -> Api:
    """The application; the routes are those of the first one that was made.

    FastAPI looks through all of them again for each application, which takes longer than most
    tests. Who adds a route has it alone.
    """
    app = create_app(settings, jobs=jobs)
    if _ROUTES:
        app.router.routes[:] = _ROUTES
    else:
        _ROUTES.extend(app.router.routes)
    return app


_ROUTES: list[BaseRoute] = []


def app_on(url: str, folder: Path, **settings: object) -> Api:
    """The application on a database, with its keys in ``folder``, and without rate limits."""
    values = {"env": "test", "data_dir": folder, "database_url": url, "rate_limits": False}
    values |= settings
    return made(Settings.model_validate(values))


def bank_of(app: FastAPI) -> Bank:
    """The bank that a started application serves."""
    bank: Bank = app.state.bank
    return bank
