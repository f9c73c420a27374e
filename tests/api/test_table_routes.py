"""The table of routes: what it finds, what it leaves to FastAPI, what it does not take."""

import pytest
from fastapi import APIRouter
from starlette.websockets import WebSocket

from guilder.api.app import Api
from guilder.api.errors import MethodNotAllowed
from guilder.api.table import RouteTable
from guilder.core.errors import NotFound
from tests.api.plumbing import client_of, problem


async def endpoint() -> dict[str, str]:
    return {}


def table_of(*routes: tuple[str, str]) -> RouteTable:
    app = Api()
    router = APIRouter()
    for method, path in routes:
        router.add_api_route(path, endpoint, methods=[method])
    app.include_router(router, prefix="/v1")
    return RouteTable(app.router.routes)


def found(table: RouteTable, method: str, path: str) -> tuple[str, dict[str, str]]:
    entry = table.find(method, path)
    assert entry is not None
    return entry[0].template, entry[1]


def test_literal_goes_before_parameter_whatever_the_method() -> None:
    table = table_of(
        *(("GET", "/a/{x}"), ("DELETE", "/a/now"), ("GET", "/a/{y}/b"), ("GET", "/a/now/b")),
        *(("POST", "/a/{x}"), ("GET", "/a"), ("GET", "/{z}/b")),
    )
    assert found(table, "GET", "/v1/a") == ("/v1/a", {})
    assert found(table, "GET", "/v1/a/1") == ("/v1/a/{x}", {"x": "1"})
    assert found(table, "DELETE", "/v1/a/now") == ("/v1/a/now", {})
    assert found(table, "GET", "/v1/a/now/b") == ("/v1/a/now/b", {})
    assert found(table, "GET", "/v1/a/1/b") == ("/v1/a/{y}/b", {"y": "1"})
    assert found(table, "GET", "/v1/q/b") == ("/v1/{z}/b", {"z": "q"})
    assert found(table, "HEAD", "/v1/a") == ("/v1/a", {})
    for path, allow in (("/v1/a/now", "DELETE"), ("/v1/a/1", "GET, HEAD, POST")):
        with pytest.raises(MethodNotAllowed) as caught:
            table.find("PUT", path)
        assert caught.value.allow == allow


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/a/", "/v1//b", "/v2", "/v1/a/1/b/c"])
def test_what_is_nowhere_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        table_of(("GET", "/a/{x}"), ("GET", "/a"), ("GET", "/{z}/b")).find("GET", path)


def test_many_slashes_are_no_work() -> None:
    with pytest.raises(NotFound):
        table_of(("GET", "/a/{x}")).find("GET", "/" * 100_000)


def test_route_with_a_trailing_slash_is_an_error_in_the_code() -> None:
    with pytest.raises(ValueError, match="trailing slash"):
        table_of(("GET", "/a/"))


async def test_parameters_of_other_shapes_are_left_to_fastapi() -> None:
    app = Api()

    @app.get("/files/{rest:path}")
    async def rest(rest: str) -> dict[str, str]:
        return {"rest": rest}

    @app.get("/reports/{name}.csv")
    async def report(name: str) -> dict[str, str]:
        return {"name": name}

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.close()

    assert not RouteTable(app.router.routes).complete
    async with client_of(app) as client:
        assert (await client.get("/files/a/b")).json() == {"rest": "a/b"}
        assert (await client.get("/reports/q1.csv")).json() == {"name": "q1"}
        problem(await client.get("/reports/q1.pdf"), 404, "not_found")
        refused = await client.post("/files/a/b")
        problem(refused, 405, "method_not_allowed")
        assert refused.headers["allow"] == "GET"
