"""What the gateway does to every request: id, limits, media types, slashes, headers, the log."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message

from guilder.api.app import Api
from guilder.api.exchange import MAX_BODY
from guilder.api.middleware import GatewayOptions
from tests.api.plumbing import COLD, LEAN, call_raw, client_of, make_app, move, problem

BOTH = pytest.mark.parametrize("path", [LEAN, COLD])
JSON = {"Content-Type": "application/json"}


async def parts(size: int, part: int = 100_000) -> AsyncIterator[bytes]:
    """A body that announces no length."""
    for _ in range(size // part):
        yield b" " * part
    yield b" " * (size % part)


@BOTH
async def test_sound_request_is_answered(path: str) -> None:
    async with client_of(make_app()) as client:
        response = await client.post(path, json=move(description=" Cafe\u0301 "))
        assert response.status_code == 201, response.text
        assert response.json()["description"] == "Caf\u00e9"
        assert response.json()["created_at"].endswith("Z")
        assert response.headers["content-type"] == "application/json"


@BOTH
async def test_trailing_slash_gives_the_same_answer_without_a_redirect(path: str) -> None:
    async with client_of(make_app()) as client:
        assert (await client.post(f"{path}/", json=move())).status_code == 201
        assert (await client.get("/api/v1/moves/")).status_code == 200
        assert (await client.get("/docs/")).status_code == 200
        problem(await client.post(f"{path}//", json=move()), 404, "not_found")


@BOTH
@pytest.mark.parametrize("query", ["dryrun=true", "dry_run=true&x=1", "=", "a"])
async def test_unknown_parameter_is_refused(path: str, query: str) -> None:
    async with client_of(make_app()) as client:
        problem(await client.post(f"{path}?{query}", json=move()), 400, "unknown_parameter")


@BOTH
@pytest.mark.parametrize("again", ["dry_run=true", "dry_run=false", "dry%5Frun=", "dry_run"])
async def test_a_parameter_that_comes_twice_is_refused(path: str, again: str) -> None:
    async with client_of(make_app()) as client:
        answer = await client.post(f"{path}?dry_run=true&{again}", json=move())
        assert problem(answer, 400, "duplicate_parameter")["parameter"] == "dry_run"


async def test_query_with_nul_or_without_end_is_refused() -> None:
    async with client_of(make_app()) as client:
        problem(await client.get("/odd/text?q=a%00b"), 400, "invalid_text")
        problem(await client.get("/odd/text?" + "q=1&" * 60), 400, "bad_request")
        assert (await client.get("/odd/text?q=%ff%ed%a0%80")).status_code == 200


@BOTH
async def test_known_parameter_is_taken(path: str) -> None:
    async with client_of(make_app()) as client:
        assert (await client.post(f"{path}?dry_run=true", json=move())).status_code == 201


@pytest.mark.parametrize("given", ["abc", "A-Z_09.~:+/=@", "x" * 128])
async def test_safe_request_id_is_echoed(given: str) -> None:
    async with client_of(make_app()) as client:
        for path in ("/odd/text", "/nowhere", "/docs"):
            response = await client.get(path, headers={"X-Request-Id": given})
            assert response.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", [b"", b"x" * 129, b"a b", b"a\tb", b"<script>", b"a,b", b"\xff\xfe", b"{}"]
)
async def test_unsafe_request_id_is_replaced(given: bytes) -> None:
    async with client_of(make_app()) as client:
        seen = set()
        for _ in range(2):
            response = await client.get("/odd/text", headers=[(b"X-Request-Id", given)])
            assert response.status_code == 200
            seen.add(response.headers["x-request-id"])
        assert len(seen) == 2
        assert all(len(found) == 32 for found in seen)


@pytest.mark.parametrize(
    "twice",
    [
        [("Authorization", "Bearer user"), ("Authorization", "Bearer admin")],
        [("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
        [("Content-Type", "application/json"), ("Content-Type", "text/plain")],
    ],
)
async def test_deciding_header_sent_twice_is_refused(twice: list[tuple[str, str]]) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(make_app()), base_url="http://bank"
    ) as client:
        problem(await client.post(LEAN, content=b"{}", headers=twice), 400, "duplicate_header")


async def test_other_header_may_come_twice_and_two_request_ids_are_none() -> None:
    async with client_of(make_app()) as client:
        headers = [("X-Request-Id", "a"), ("X-Request-Id", "b"), ("Accept", "a"), ("Accept", "b")]
        response = await client.get("/odd/text", headers=headers)
        assert response.status_code == 200
        assert len(response.headers["x-request-id"]) == 32


@BOTH
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_over_its_limit_is_refused(path: str, chunked: bool) -> None:
    async with client_of(make_app()) as client:
        size = MAX_BODY + 1
        body = parts(size) if chunked else b" " * size
        response = await client.post(path, content=body, headers=JSON)
        problem(response, 413, "body_too_large")
        assert "connection" not in response.headers  # a close would cut off who still sends


@BOTH
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_at_its_limit_is_read(path: str, chunked: bool) -> None:
    async with client_of(make_app()) as client:
        body = parts(MAX_BODY) if chunked else b" " * MAX_BODY
        response = await client.post(path, content=body, headers=JSON)
        problem(response, 400, "malformed_json")


async def test_batch_route_takes_more() -> None:
    async with client_of(make_app()) as client:
        path = "/api/v1/moves/batches"
        for size, status, code in (
            (7_999_999, 400, "malformed_json"),
            (8_000_001, 413, "body_too_large"),
        ):
            response = await client.post(path, content=parts(size), headers=JSON)
            problem(response, status, code)


@BOTH
async def test_announced_length_that_is_none_is_refused(path: str) -> None:
    for length in (b"ten", b"-1", b"1" * 30, b""):
        sent = await call_raw(make_app(), [], path=path, headers=((b"content-length", length),))
        assert sent[0]["status"] == 400


@BOTH
async def test_slow_body_is_refused(path: str) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    async with client_of(make_app(options=GatewayOptions(body_seconds=0.05))) as client:
        response = await client.post(path, content=slow(), headers=JSON)
        problem(response, 408, "request_timeout")
        assert response.headers["connection"] == "close"


@BOTH
async def test_body_in_parts_is_put_together(path: str) -> None:
    async def dribble() -> AsyncIterator[bytes]:
        for byte in httpx.Request("POST", "http://x", json=move()).content:
            yield bytes([byte])

    async with client_of(make_app()) as client:
        response = await client.post(path, content=dribble(), headers=JSON)
        assert response.status_code == 201


@BOTH
@pytest.mark.parametrize(
    "kind",
    [b"text/plain", b"application/x-www-form-urlencoded", b"application/jsonp", b"", b"\xff"],
)
async def test_body_of_another_type_is_refused(path: str, kind: bytes) -> None:
    async with client_of(make_app()) as client:
        response = await client.post(path, content=b"{}", headers=[(b"Content-Type", kind)])
        problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("path", [COLD, LEAN, "/odd/own-reading"])
async def test_a_body_that_would_have_to_be_decoded_is_refused(path: str) -> None:
    async with client_of(make_app()) as client:
        for coding in ("gzip", "br", "identity, gzip", "GZIP"):
            refused = await client.post(path, json=move(), headers={"Content-Encoding": coding})
            problem(refused, 415, "unsupported_content_encoding")
            assert refused.headers["accept-encoding"] == "identity"
        for coding in ("identity", "Identity", ""):
            taken = await client.post(path, json=move(), headers={"Content-Encoding": coding})
            assert taken.status_code in {200, 201}


@BOTH
@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/problem+json"]
)
async def test_json_under_any_of_its_names_is_read(path: str, kind: str) -> None:
    async with client_of(make_app()) as client:
        body = httpx.Request("POST", "http://x", json=move()).content
        response = await client.post(path, content=body, headers={"Content-Type": kind})
        assert response.status_code == 201, response.text


@BOTH
async def test_missing_body_is_refused(path: str) -> None:
    async with client_of(make_app()) as client:
        problem(await client.post(path), 400, "malformed_json")
        problem(await client.post(path, content=b"null", headers=JSON), 422, "validation_failed")


async def test_optional_body_may_be_missing_but_not_wrong() -> None:
    async with client_of(make_app()) as client:
        assert (await client.post("/odd/optional")).json() == {"given": False}
        assert (await client.post("/odd/optional", json=move())).json() == {"given": True}
        refused = await client.post("/odd/optional", content=b"{", headers=JSON)
        problem(refused, 400, "malformed_json")


async def test_form_is_read_where_one_is_declared() -> None:
    async with client_of(make_app()) as client:
        sound = await client.post("/odd/login", data={"username": "ann", "password": "x"})
        assert sound.json() == {"who": "ann", "actor": "anonymous"}
        missing = await client.post("/odd/login", data={"username": "ann"})
        body = problem(missing, 422, "validation_failed")
        assert body["errors"] == [
            {"pointer": "/password", "code": "required", "message": "This field is required."}
        ]
        nul = await client.post("/odd/login", data={"username": "a\0", "password": "x"})
        problem(nul, 400, "invalid_text")
        as_json = await client.post("/odd/login", json={"username": "ann", "password": "x"})
        problem(as_json, 415, "unsupported_media_type")
        files = await client.post("/odd/login", files={"username": b"ann"})
        problem(files, 415, "unsupported_media_type")


@BOTH
async def test_token_is_asked_for_before_anything_is_read(path: str) -> None:
    async with client_of(make_app()) as client:
        response = await client.post(
            f"{path}?x=1", content=b"{", headers={"Authorization": "Basic YTpi"}
        )
        problem(response, 401, "unauthenticated")


async def test_every_answer_has_the_security_headers() -> None:
    async with client_of(make_app()) as client:
        for path in ("/odd/text", "/nowhere", "/odd/fault", "/api/v1/moves"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert "strict-transport-security" not in headers
            assert "access-control-allow-origin" not in headers


async def test_strict_transport_is_for_production() -> None:
    async with client_of(make_app(options=GatewayOptions(hsts=True))) as client:
        for path in ("/odd/text", "/docs", "/nowhere"):
            assert "max-age" in (await client.get(path)).headers["strict-transport-security"]


async def test_head_is_get_without_its_body() -> None:
    async with client_of(make_app()) as client:
        got, head = await client.get("/odd/text"), await client.head("/odd/text")
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == got.headers["content-length"]


async def test_each_request_leaves_one_line_and_one_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[tuple[str, str, int, str | None]] = []

    def count(method: str, template: str, status: int, seconds: float, code: str | None) -> None:
        assert seconds > 0
        counted.append((method, template, status, code))

    caplog.set_level(logging.INFO, "guilder.access")
    async with client_of(make_app(options=GatewayOptions(on_request=count))) as client:
        await client.post(LEAN, json=move(), headers={"X-Request-Id": "abc"})
        await client.get("/api/v1/moves/0190a000-0000-7000-8000-00000000000f")
        await client.get("/nowhere/4111111111111111")
        await client.request("BREW", "/odd/text", headers={"Authorization": ""})
        await client.get("/docs")
    assert counted == [
        ("POST", "/api/v1/moves", 201, None),
        ("GET", "/api/v1/moves/{move_id}", 200, None),
        ("GET", "unmatched", 404, "not_found"),
        ("OTHER", "unmatched", 405, "method_not_allowed"),
        ("GET", "/docs", 200, None),
    ]
    lines = [vars(record)["fields"] for record in caplog.records]
    assert [line["status"] for line in lines] == [201, 200, 404, 405, 200]
    first = lines[0]
    assert first.pop("duration_ms") > 0
    assert first == {
        "request_id": "abc",
        "actor": "user:0190a000-0000-7000-8000-000000000001",
        "session_id": "0190a000-0000-7000-8000-00000000000a",
        "ip_address": "127.0.0.1",
        "method": "POST",
        "route": "/api/v1/moves",
        "status": 201,
    }
    assert lines[3]["actor"] == "anonymous"
    assert "4111" not in str(lines)


async def test_middleware_of_the_application_goes_around_the_gateway() -> None:
    app = make_app()
    app.add_middleware(CORSMiddleware, allow_origins=["https://ui.example"])
    async with client_of(app) as client:
        response = await client.get("/nowhere", headers={"Origin": "https://ui.example"})
        assert response.headers["access-control-allow-origin"] == "https://ui.example"
        problem(response, 404, "not_found")


async def test_mounts_are_still_served_and_their_misses_are_problems() -> None:
    app = make_app()
    inner = Api()

    @inner.get("/page")
    async def page() -> dict[str, str]:
        return {"page": "here"}

    app.mount("/inner", inner)
    async with client_of(app) as client:
        assert (await client.get("/inner/page")).json() == {"page": "here"}
        problem(await client.get("/elsewhere"), 404, "not_found")
        problem(await client.post("/api/v1/moves/cold/x", json={}), 404, "not_found")


async def test_body_that_a_route_reads_itself_has_the_same_limits() -> None:
    async with client_of(make_app()) as client:
        path = "/odd/own-reading"
        read = await client.post(path, content=parts(MAX_BODY), headers={"User-Agent": "me"})
        assert read.json() == {"size": MAX_BODY, "agent": "me"}
        problem(await client.post(path, content=parts(MAX_BODY + 1)), 413, "body_too_large")


async def test_more_large_bodies_than_can_be_held_are_refused_until_one_is_done() -> None:
    app, path = make_app(), "/api/v1/moves/batches"
    arrived = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b" " * 7_000_000
        arrived.set()
        await asyncio.Event().wait()

    async with client_of(app) as client:
        stuck = asyncio.create_task(client.post(path, content=half(), headers=JSON))
        await arrived.wait()
        busy = await client.post(path, content=parts(7_000_000), headers=JSON)
        problem(busy, 503, "overloaded")
        assert busy.headers["retry-after"]
        small = await client.post(path, content=b" " * 15_000, headers=JSON)
        problem(small, 400, "malformed_json")
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        again = await client.post(path, content=parts(7_000_000), headers=JSON)
        problem(again, 400, "malformed_json")


async def test_long_answer_outlives_the_time_for_the_body() -> None:
    async with client_of(make_app(options=GatewayOptions(body_seconds=0.03))) as client:
        assert (await client.get("/odd/slowly")).content == b"....."
    waited = asyncio.Event()
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not messages:
            waited.set()
            await asyncio.Event().wait()
        return messages.pop()

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/odd/slowly", "query_string": b""}
    app = make_app(options=GatewayOptions(body_seconds=0.03))
    await app({**scope, "headers": []}, receive, send)
    assert waited.is_set()
    assert len(sent) == 7


async def test_start_and_stop_reach_the_application() -> None:
    begun: list[str] = []

    async def lifespan_of(app: Api) -> AsyncIterator[None]:
        begun.append("start")
        yield
        begun.append("stop")

    app = Api(lifespan=lifespan_of)
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive() -> dict[str, str]:
        return messages.pop(0)

    async def send(message: object) -> None:
        sent.append(message)

    await app({"type": "lifespan", "state": {}}, receive, send)
    assert begun == ["start", "stop"]
    assert len(sent) == 2
