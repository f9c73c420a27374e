"""The client of the tests lets no answer pass that the reference does not declare."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter

from guilder.api.app import Api
from guilder.api.auth import AnonymousActor
from guilder.api.openapi import CODES
from guilder.core.errors import Conflict
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.support.declared import (
    UNMATCHED,
    check_declared,
    document,
    missing_headers,
    undeclared,
)

PROBLEM = "application/problem+json"
PATH = "/api/v1/accounts/0190a000-0000-7000-8000-000000000001"


class Planted(Conflict):
    code = "planted"


def problem(code: str) -> bytes:
    return json.dumps({"code": code}).encode()


def test_a_declared_code_passes_and_another_does_not() -> None:
    assert undeclared("GET", PATH, 404, PROBLEM, problem("account_not_found")) is None
    assert undeclared("GET", PATH, 401, PROBLEM, problem("unauthenticated")) is None
    said = undeclared("GET", PATH, 409, PROBLEM, problem("planted"))
    assert said == "GET /api/v1/accounts/{account_id} does not declare `planted`"


def test_a_code_of_a_field_that_is_in_no_list_does_not_pass() -> None:
    def named(code: str) -> str | None:
        body = {"code": "validation_failed", "errors": [{"code": code}]}
        sent = json.dumps(body).encode()
        return undeclared("POST", "/api/v1/transfers", 422, PROBLEM, sent)

    assert named("required") is None
    assert named("planted") is not None


def test_a_status_and_a_body_are_held_against_the_reference() -> None:
    assert undeclared("GET", "/health/live", 200, "application/json", b'{"status":"alive"}') is None
    for status, body in ((201, b'{"status":"alive"}'), (200, b'{"status":1}'), (200, b"{}")):
        assert undeclared("GET", "/health/live", status, "application/json", body)


def test_what_is_no_operation_is_left_alone() -> None:
    for code in UNMATCHED:
        assert undeclared("GET", "/nowhere", 404, PROBLEM, problem(code)) is None


def test_a_header_that_an_answer_always_has_is_missed() -> None:
    assert missing_headers("POST", "/api/v1/transfers", 201, ["content-type"]) == ["location"]
    assert missing_headers("POST", "/api/v1/transfers", 201, ["location"]) == []
    assert missing_headers("POST", "/api/v1/transfers", 200, []) == []
    assert missing_headers("POST", "/nowhere", 201, []) == []


def test_every_operation_lists_its_codes_and_the_plumbing_adds_its_own() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            codes = operation[CODES]
            assert codes == sorted(set(codes))
            assert {"bad_request", "internal_error", "unavailable"} <= set(codes), (method, path)
            keyed = any(one.get("name") == "Idempotency-Key" for one in operation["parameters"])
            keys = {"idempotency_conflict", "idempotency_in_progress", "validation_failed"}
            assert not keyed or keys <= set(codes), (method, path)
            assert bool(operation["security"]) == ("unauthenticated" in codes)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Of an application that answers ``GET /health/live`` with what it does not declare."""
    router = APIRouter()

    @router.get("/health/live")
    async def live(actor: AnonymousActor) -> None:
        """Refuses."""
        raise Planted("Not now.")

    app = Api(title="Planted", version="1")
    app.include_router(router)
    transport = httpx.ASGITransport(app)
    hooks = {"response": [check_declared]}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://bank", event_hooks=hooks
    ) as client:
        yield client


async def test_an_undeclared_code_fails_the_test_that_got_it(client: httpx.AsyncClient) -> None:
    with pytest.raises(AssertionError, match="does not declare `planted`"):
        await client.get("/health/live")


def test_the_reference_is_of_this_application() -> None:
    app = create_app(Settings.model_validate({"env": "test"}))
    assert app.openapi()["paths"].keys() == document()["paths"].keys()
