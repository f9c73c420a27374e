"""Every way of being refused is a problem, and none repeats what was sent."""

import logging

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Scope

from guilder.api.errors import MethodNotAllowed
from guilder.api.problems import STATUS, problem_of, problem_of_http, refusal_of_http, status_of
from guilder.core.errors import Refusal
from tests.api.plumbing import LEAN, SIGNED_IN, Gates, call_raw, client_of, make_app, move, problem

CANARY = "canary-4111111111111111"


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("plain", 400, "refused"),
        ("unauthenticated", 401, "unauthenticated"),
        ("forbidden", 403, "forbidden"),
        ("missing", 404, "not_found"),
        ("frozen", 409, "frozen"),
        ("limit", 422, "validation_failed"),
        ("conflict", 422, "idempotency_conflict"),
        ("often", 429, "rate_limited"),
        ("busy", 503, "overloaded"),
    ],
)
async def test_refusal_becomes_a_problem(name: str, status: int, code: str) -> None:
    async with client_of(make_app()) as client:
        problem(await client.get(f"/odd/raised/{name}"), status, code)


async def test_refusal_carries_its_facts_but_cannot_change_the_standard_members() -> None:
    async with client_of(make_app()) as client:
        body = problem(await client.get("/odd/raised/limit"), 422, "validation_failed")
        assert (body["limit"], body["used"], body["status"]) == (5, 4, 422)
        field = problem(await client.get("/odd/raised/field"), 422, "validation_failed")
        assert field["errors"] == [{"pointer": "/a", "code": "odd", "message": "It is odd."}]
        often = await client.get("/odd/raised/often")
        assert often.headers["retry-after"] == "7"
        assert (await client.get("/odd/raised/busy")).headers["retry-after"] == "1"
        refused = await client.get("/odd/raised/unauthenticated")
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]


def test_every_category_has_a_status() -> None:
    assert {status_of(kind) for kind in Refusal.__subclasses__()} <= set(STATUS.values())
    assert status_of(MethodNotAllowed) == 405


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 413, 415, 418])
def test_starlettes_exceptions_become_problems_without_their_text(status: int) -> None:
    error = HTTPException(status, detail=CANARY)
    refusal = refusal_of_http(error)
    reply = problem_of_http(error, "id") if refusal is None else problem_of(refusal, "id")
    assert reply.status_code == status
    assert CANARY.encode() not in reply.body


def test_starlettes_405_keeps_its_methods() -> None:
    refusal = refusal_of_http(HTTPException(405, headers={"Allow": "POST, GET"}))
    assert refusal is not None
    reply = problem_of(refusal, "id")
    assert reply.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/moves/x/y", "/api/v2/moves", "//", "/%00"])
async def test_unknown_path_is_a_problem(path: str) -> None:
    async with client_of(make_app()) as client:
        problem(await client.get(path), 404, "not_found")


@pytest.mark.parametrize("name", ["1", "latest", "%7B", "{%7D", "0190a00000007000800000000000000f"])
async def test_id_that_is_none_is_not_found(name: str) -> None:
    async with client_of(make_app()) as client:
        problem(await client.get(f"/api/v1/moves/{name}"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/moves", "GET, HEAD, POST"),
        ("PUT", "/api/v1/moves/cold", "POST"),
        ("POST", "/api/v1/moves/current", "DELETE"),
        ("OPTIONS", "/api/v1/moves/cold/", "POST"),
        ("BREW", "/docs", "GET, HEAD"),
    ],
)
async def test_wrong_method_names_the_right_ones(method: str, path: str, allow: str) -> None:
    async with client_of(make_app()) as client:
        response = await client.request(method, path)
        problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == allow


@pytest.mark.parametrize(("method", "path"), [("GET", "/odd/fault"), ("POST", "/odd/lean-fault")])
async def test_fault_is_told_to_the_log_and_not_to_the_client(
    method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(make_app()) as client:
        response = await client.request(method, path, headers={"X-Request-Id": "find-me"})
    body = problem(response, 500, "internal_error")
    assert body["request_id"] == "find-me"
    assert CANARY not in response.text
    assert "Traceback" not in response.text
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert vars(record)["fields"]["request_id"] == "find-me"


async def test_fault_in_the_middle_of_an_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    sent = await call_raw(make_app(), [], method="GET", path="/odd/half")
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    assert any(r.levelno == logging.ERROR for r in caplog.records)


async def test_client_that_goes_away_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "guilder"):
        part = {"type": "http.request", "body": b"{", "more_body": True}
        assert await call_raw(make_app(), [part]) == []
    [record] = caplog.records
    assert record.name == "guilder.access"
    assert vars(record)["fields"]["status"] == 499


async def test_client_that_goes_away_during_the_answer_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app(Gates())

    async def gone(_: object) -> None:
        raise OSError("the connection is closed")

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    for path in ("/nowhere", "/odd/half", "/odd/text"):
        scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        scope["query_string"] = b""
        await app(scope, receive, gone)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_refused_values_are_never_echoed() -> None:
    async with client_of(make_app()) as client:
        bad = move(
            amount=CANARY, description=[CANARY], from_id=CANARY, name=CANARY + "\x07", at=CANARY
        )
        for path in (LEAN, f"{LEAN}/cold"):
            response = await client.post(path, json=bad)
            problem(response, 422, "validation_failed")
            assert CANARY not in response.text


async def test_a_problem_with_a_query_or_a_header_names_it() -> None:
    async with client_of(make_app()) as client:
        unknown = problem(await client.get(f"{LEAN}?limit=2&page=1"), 400, "unknown_parameter")
        assert (unknown["parameter"], unknown["known"]) == ("page", ["cursor", "limit", "offset"])
        for odd in ("x" * 33, "9f86d081884c7d65", "a%20b"):
            told = problem(await client.get(f"{LEAN}?{odd}=1"), 400, "unknown_parameter")
            assert "parameter" not in told  # it may be a secret in a wrong place
        [broken] = problem(await client.get(f"{LEAN}?limit=0"), 422, "validation_failed")["errors"]
        assert (broken["parameter"], "pointer" in broken) == ("limit", False)
        keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        twice = await client.post(LEAN, json=move(), headers=[*SIGNED_IN.items(), *keys])
        assert problem(twice, 400, "duplicate_header")["header"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("body", "code", "more"),
    [
        (b"{", "malformed_json", {"position": {"line": 1, "column": 1}}),
        (b'{\n "a": 1,\n "b" 2}', "malformed_json", {"position": {"line": 3, "column": 6}}),
        (
            b'{"amount": 1, "amount": 2}',
            "duplicate_key",
            {"key": "amount", "position": {"line": 1, "column": 24}},
        ),
        (b'{"' + b"k" * 99 + b'":1,"' + b"k" * 99 + b'":2}', "duplicate_key", {"key": "k" * 64}),
    ],
)
async def test_a_problem_with_a_document_tells_where(
    body: bytes, code: str, more: dict[str, object]
) -> None:
    async with client_of(make_app()) as client:
        answer = await client.post(LEAN, content=body, headers={"Content-Type": "application/json"})
        found = problem(answer, 400, code)
        assert {name: found[name] for name in more} == more
