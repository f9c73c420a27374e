"""Endpoints that are called without FastAPI's machinery answer as they do with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from guilder.api.middleware import Gateway
from guilder.api.table import RouteEntry, RouteTable
from tests.support.app import app_on, started
from tests.support.constants import API
from tests.support.declared import document
from tests.support.logins import signed_up

VALUES = (
    *("", "x", "0", "1", "-1", "101", "true", "credit", "posted", "failed", "2026-10"),
    *("2026-11-01", "2026-13-01", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00", "%C3%A9", "%00"),
)
"""What any parameter may be given: each is right for one of them."""
IDS = ("0198c6ba-7c1a-7000-8000-000000000001", "no-id", "%00", "0198C6BA7C1A700080000000000000000")
MOVING = {"/health", "/metrics", f"{API}/simulations/clock"}
"""Their answers differ from one moment to the next."""


def targets(account: str) -> Iterator[str]:
    """Every GET of the reference, with each parameter as it should and as it should not be."""
    for path, operations in document()["paths"].items():
        operation = operations.get("get")
        if operation is None or path in MOVING:
            continue
        for given in (account, *IDS) if "{" in path else ("",):
            filled = "/".join(given if "{" in part else part for part in path.split("/"))
            yield filled
        parameters = [_resolved(one) for one in operation.get("parameters", ())]
        names = [one["name"] for one in parameters if one["in"] == "query"]
        filled = "/".join(account if "{" in part else part for part in path.split("/"))
        yield from (f"{filled}?{name}={value}" for name in names for value in VALUES)
        yield filled + "?" + "&".join(f"{name}=x" for name in names)
        yield f"{filled}?month=2026-11&nobody=knows&{'&'.join(names[:1] * 2)}"


def _resolved(parameter: dict[str, Any]) -> dict[str, Any]:
    shared: dict[str, Any] = document()["components"].get("parameters", {})
    name = parameter.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = shared[name] if name else parameter
    return found


async def answer(client: httpx.AsyncClient, target: str, token: str) -> tuple[int, Any]:
    response = await client.get(target, headers={"Authorization": f"Bearer {token}"})
    if response.headers.get("content-type", "").startswith(("application/json", "application/pr")):
        body = response.json()
        body.pop("request_id", None)
        return response.status_code, body
    return response.status_code, response.text


@pytest.mark.heavy
async def test_bound_endpoints_answer_as_fastapi_does(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(sqlite_url, tmp_path)
    async with started(app) as client:
        token = (await signed_up(client))["access_token"]
        opened = await client.post(
            f"{API}/accounts",
            json={"type": "checking", "currency": "USD"},
            headers={"Authorization": f"Bearer {token}"},
        )
        gateway = app.middleware_stack
        assert isinstance(gateway, Gateway)
        bound, asked, refused = gateway.table, 0, 0
        monkeypatch.setattr("guilder.api.table.bound_endpoint", lambda _route: None)
        cold = RouteTable(app.router.routes)
        for target in targets(opened.json()["id"]):
            gateway.table = bound
            found = await answer(client, target, token)
            gateway.table = cold
            assert found == await answer(client, target, token), target
            asked, refused = asked + 1, refused + (found[0] >= 400)
        gateway.table = bound
    assert asked > 300
    assert 50 < refused < asked - 50


def entries(table: RouteTable) -> Iterator[RouteEntry]:
    nodes = [table._root]
    while nodes:
        node = nodes.pop()
        yield from {id(entry): entry for entry, _ in node.entries.values()}.values()
        nodes += [*node.literal.values(), *([node.parameter] if node.parameter else [])]


def test_every_operation_that_reads_no_body_is_bound(sqlite_url: str, tmp_path: Path) -> None:
    table = RouteTable(app_on(sqlite_url, tmp_path).router.routes)
    left = {
        entry.template
        for entry in entries(table)
        if entry.template in document()["paths"] and entry.methods & {"GET"} and not entry.bound
    }
    assert left == {"/openapi.json"} & set(document()["paths"])
