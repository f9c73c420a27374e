"""The manners of every operation, found from OpenAPI: methods, slashes, media types, sizes."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path

import pytest
from fastapi import FastAPI

from guilder.api.headers import SECURITY_HEADERS
from guilder.core.errors import Overloaded, RateLimited
from tests.access.making import built
from tests.access.world import ALL, Operation, World
from tests.support.app import app_on, started
from tests.support.asking import JSON, Answer, RawHeaders, ask

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
READING = [one for one in ALL if one.has_body]
EITHER = ("/auth/", "/api/v1/tokens")
"""Paths with it take forms too."""
KINDS = [
    b"text/plain", b"text/json", b"application/xml", b"multipart/form-data; boundary=x",
    b"application/octet-stream", b"application/jsonp", b"application/json5", b"json", b"", b"*/*",
    b"application/x-www-form-urlencoded", b"text/plain; application/json", b"\xff\xfe",
]  # fmt: skip
ONCE = [
    b"authorization", b"content-type", b"content-length", b"idempotency-key",
    b"content-encoding",
]  # fmt: skip
NOWHERE = [
    "/nothing", "/api", "/api/v1", "/api/v2/users/me", "/%2e%2e/etc/passwd", "/%00",
    "/health%00", "/%ff%fe", "/%c0%ae", "/%ed%a0%80", "/api/v1/users%00", "/api%2fv1%2fnothing",
    "/%0d%0aSet-Cookie:%20a=b", "/" + "a" * 60_000, "/" + "a/" * 30_000, "/%E2%80%AE", "/.env",
    "/api/v1/accounts/%2e%2e%2f%2e%2e", "/API/V1/USERS/ME", "/Health", "/docs/assets/x/y",
    "/metrics/x", "/api/v1/users/me;a=b", "/api/v1/users/me%20", "/\\api", "/*", "/{account_id}",
]  # fmt: skip


class Manners:
    """A bank, and who asks it: an admin, so that permissions are in no one's way."""

    def __init__(self, app: FastAPI, world: World) -> None:
        self.app = app
        self.world = world
        self.token: RawHeaders = [(b"authorization", f"Bearer {world.tokens['root']}".encode())]

    def path(self, operation: Operation) -> str:
        return operation.path.format_map(self.world.ids)

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: RawHeaders | None = None
    ) -> Answer:
        """Ask, and see that the answer has what every answer has."""
        answer = await ask(self.app, method, path, [*self.token, *(headers or [])], body)
        told = f"{method} {path}: {answer.status} {answer.body[:200]!r}"
        for name, value in SECURITY_HEADERS:
            assert answer.header(name.decode()) == value.decode(), told
        assert answer.header("x-request-id"), told
        assert answer.header("strict-transport-security") is None, told
        if answer.status >= 400 and method != "HEAD":
            assert answer.code is not None, told
            assert answer.json()["status"] == answer.status, told
        return answer


@pytest.fixture
async def manners(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Manners]:
    app = app_on(sqlite_url, tmp_path)
    async with started(app) as client:
        world = await built(app, client)
        yield Manners(app, world)


def paths() -> Iterator[tuple[str, set[str]]]:
    """Every path and its methods."""
    for path in sorted({one.path for one in ALL}):
        methods = {one.method for one in ALL if one.path == path}
        yield path, methods | ({"HEAD"} if "GET" in methods else set())


async def test_a_method_that_a_path_has_not_is_refused_with_those_it_has(manners: Manners) -> None:
    """``OPTIONS`` too: there is no page elsewhere that may ask."""
    for path, methods in paths():
        target = path.format_map(manners.world.ids)
        for method in set(METHODS) - methods:
            for end in ("", "/"):
                answer = await manners.ask(method, target.rstrip("/") + end or "/")
                assert answer.status == 405, f"{method} {path}: {answer.body!r}"
                assert answer.header("allow") == ", ".join(sorted(methods)), path
                assert answer.header("access-control-allow-origin") is None


async def test_head_answers_as_get_does_without_the_body(manners: Manners) -> None:
    for path, methods in paths():
        if "GET" not in methods:
            continue
        target = path.format_map(manners.world.ids)
        got, head = await manners.ask("GET", target), await manners.ask("HEAD", target)
        assert head.body == b"", path
        assert head.status == got.status, path
        kinds = [answer.header("content-type") for answer in (got, head)]
        assert kinds[0] == kinds[1], path


async def test_a_slash_at_the_end_changes_nothing_and_two_are_another_path(
    manners: Manners,
) -> None:
    """Asked with what is refused, so that the second asks about the same."""
    for operation in ALL:
        path = manners.path(operation)
        if path == "/":
            continue
        answers = [
            await manners.ask(operation.method, path + end, b"{", [(b"content-type", b"x/y")])
            for end in ("?no_such_parameter=1", "/?no_such_parameter=1")
        ]
        assert [answer.status for answer in answers] == [400, 400], operation.name
        assert [answer.code for answer in answers] == ["unknown_parameter"] * 2, operation.name
        twice = await manners.ask(operation.method, path + "//")
        assert twice.status == 404, operation.name


async def test_a_body_of_another_type_is_refused_by_every_operation(manners: Manners) -> None:
    for operation, kind in product(READING, KINDS):
        if any(part in operation.path for part in EITHER) and b"form-urlencoded" in kind:
            continue
        headers = [(b"content-type", kind)] if kind else []
        answer = await manners.ask(operation.method, manners.path(operation), b"{}", headers)
        told = (answer.status, answer.code)
        assert told == (415, "unsupported_media_type"), f"{operation.name}: {answer.body!r}"


async def test_a_body_that_is_too_large_is_refused_by_every_operation(manners: Manners) -> None:
    """Announced or not; where no body is read, an announced one is refused all the same."""
    for operation in ALL:
        length = [(b"content-length", b"8000001")]
        answer = await manners.ask(operation.method, manners.path(operation), b"", length)
        assert (answer.status, answer.code) == (413, "body_too_large"), operation.name
    large = json.dumps({"x": "y" * 8_000_000}).encode()
    for operation in READING:
        answer = await manners.ask(operation.method, manners.path(operation), large, JSON)
        assert (answer.status, answer.code) == (413, "body_too_large"), operation.name


async def test_a_deciding_header_that_comes_twice_is_refused_by_every_operation(
    manners: Manners,
) -> None:
    for operation, header in product(ALL, ONCE):
        path = manners.path(operation)
        answer = await manners.ask(operation.method, path, b"", [(header, b"1"), (header, b"2")])
        assert (answer.status, answer.code) == (400, "duplicate_header"), operation.name


async def test_a_parameter_that_comes_twice_is_refused_by_every_operation_that_has_it(
    manners: Manners,
) -> None:
    """Whichever is taken, a proxy or a log may have seen the other."""
    document = manners.app.openapi()
    seen = 0
    for operation in ALL:
        for given in document["paths"][operation.path][operation.method.lower()]["parameters"]:
            if given.get("in") != "query":
                continue
            for pair in (("1", "1"), ("", "x"), ("true", "false")):
                query = "&".join(f"{given['name']}={value}" for value in pair)
                answer = await manners.ask(operation.method, f"{manners.path(operation)}?{query}")
                told = (answer.status, answer.code)
                assert told == (400, "duplicate_parameter"), f"{operation.name} {query}"
                seen += 1
    assert seen > 60


async def test_a_path_that_is_none_is_a_problem(manners: Manners) -> None:
    for path, method in product(NOWHERE, ("GET", "POST", "DELETE", "OPTIONS", "BREW")):
        answer = await manners.ask(method, path, b"{}", JSON)
        assert (answer.status, answer.code) == (404, "not_found"), f"{path}: {answer.body!r}"


async def test_what_may_be_tried_again_says_when(manners: Manners) -> None:
    refusals = [RateLimited(retry_after_seconds=7), Overloaded()]

    @manners.app.get("/planted")
    async def planted() -> None:
        raise refusals[0]

    manners.app.middleware_stack = None  # the table of routes is made anew
    for status, code in ((429, "rate_limited"), (503, "overloaded")):
        answer = await manners.ask("GET", "/planted")
        assert (answer.status, answer.code) == (status, code)
        assert int(answer.header("retry-after") or 0) >= 1
        refusals.pop(0)
