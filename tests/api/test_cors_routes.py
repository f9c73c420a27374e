"""Pages from elsewhere: those of the list may call and read every answer, others see nothing."""

import httpx
import pytest

from guilder.api.middleware import GatewayOptions
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.api.plumbing import COLD, LEAN, client_of, make_app, move

PAGE = "https://app.example.com"
OTHERS = ["https://app.example.com.evil.test", "http://app.example.com", "null", "", PAGE.upper()]
ASKS = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


def listed(*origins: str) -> httpx.AsyncClient:
    return client_of(make_app(options=GatewayOptions(cors_origins=origins)))


def cors_headers(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


async def every_kind(client: httpx.AsyncClient, origin: str) -> dict[int, httpx.Response]:
    """An answer of every kind that the plumbing gives, by its status."""
    page = {"Origin": origin}
    answers = [
        await client.post(LEAN, json=move(), headers=page),
        await client.post(LEAN, content=b"{", headers={**page, "Content-Type": "application/json"}),
        await client.get("/api/v1/moves", headers={**page, "Authorization": "Bearer nobody"}),
        await client.delete("/api/v1/moves/current", headers=page),
        await client.get("/nothing", headers=page),
        await client.put(COLD, headers=page),
        await client.get("/odd/raised/frozen", headers=page),
        await client.post(LEAN, content=b" " * 1_000_001, headers=page),
        await client.post(LEAN, content=b"x", headers=page),
        await client.post(LEAN, json={}, headers=page),
        await client.get("/odd/raised/often", headers=page),
        await client.get("/odd/fault", headers=page),
        await client.get("/odd/raised/busy", headers=page),
        await client.get("/docs", headers=page),
    ]
    found = {answer.status_code: answer for answer in answers}
    assert found.keys() == {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503}
    return found


async def test_a_page_of_the_list_may_read_every_answer() -> None:
    async with listed("https://first.example", PAGE) as client:
        for answer in (await every_kind(client, PAGE)).values():
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "Origin" in answer.headers["vary"].split(", ")
            exposed = answer.headers["access-control-expose-headers"].split(", ")
            assert {"X-Request-Id", "Retry-After", "RateLimit", "Idempotency-Replayed"} <= {
                *exposed
            }
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", OTHERS)
async def test_other_pages_may_read_none(origin: str) -> None:
    async with listed(PAGE) as client:
        for answer in (await every_kind(client, origin)).values():
            assert cors_headers(answer) == set()
            assert "Origin" in answer.headers["vary"].split(", ")


async def test_an_answer_to_nobody_varies_too() -> None:
    async with listed(PAGE) as client:
        answer = await client.get("/nothing")
        assert (cors_headers(answer), answer.headers["vary"]) == (set(), "Origin")


async def test_without_a_list_nothing_is_said() -> None:
    async with listed() as client:
        for answer in (await every_kind(client, PAGE)).values():
            assert cors_headers(answer) == set()
            assert "Origin" not in answer.headers.get("vary", "")
        assert (await client.options(LEAN, headers=ASKS)).status_code == 405


@pytest.mark.parametrize("path", [LEAN, COLD, "/nothing", "/odd/fault", "/docs", "/a%00b"])
async def test_a_preflight_is_answered_alike_for_every_path(path: str) -> None:
    async with listed(PAGE) as client:
        client.headers.pop("Authorization")
        answer = await client.options(path, headers=ASKS)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == PAGE
        methods = answer.headers["access-control-allow-methods"].split(", ")
        assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= {*methods}
        names = answer.headers["access-control-allow-headers"].split(", ")
        assert {*names} == {
            "Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id",
            "traceparent", "tracestate",
        }  # fmt: skip
        assert answer.headers["access-control-max-age"] == "600"
        assert answer.headers["x-request-id"]


async def test_a_preflight_of_another_page_is_given_no_leave() -> None:
    async with listed(PAGE) as client:
        answer = await client.options(LEAN, headers={**ASKS, "Origin": "https://evil.test"})
        assert "access-control-allow-origin" not in answer.headers


async def test_options_without_a_page_is_an_ordinary_request() -> None:
    async with listed(PAGE) as client:
        assert (await client.options(LEAN)).status_code == 405
        assert (await client.options(LEAN, headers={"Origin": PAGE})).status_code == 405


async def test_any_page_may_call_but_never_with_credentials() -> None:
    async with listed("*") as client:
        answer = await client.get("/nothing", headers={"Origin": "https://anywhere.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert "vary" not in answer.headers


async def test_a_refused_header_is_told_to_the_page_too() -> None:
    async with listed(PAGE) as client:
        twice = [("Origin", PAGE), ("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
        answer = await client.get("/nothing", headers=twice)
        assert answer.status_code == 400
        assert answer.headers["access-control-allow-origin"] == PAGE


async def test_the_list_of_the_settings_is_the_one() -> None:
    app = create_app(
        Settings.model_validate({"cors_origins": f"{PAGE}:443/, http://localhost:5173"})
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://bank") as client:
        for origin in (PAGE, "http://localhost:5173"):
            answer = await client.options("/api/v1/transfers", headers={**ASKS, "Origin": origin})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
                204,
                origin,
            )
