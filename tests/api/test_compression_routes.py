"""Gzip where no secret is near, and answers that are kept and asked for again."""

import gzip
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from guilder.api.app import Api
from guilder.api.auth import AnonymousActor
from guilder.api.compression import MIN_BYTES, THREAD_BYTES, compressed, takes_gzip
from guilder.api.middleware import GatewayOptions
from guilder.api.replies import Reply, json_response
from guilder.core.errors import NotFound

GZIP = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        (None, False),
        (b"", False),
        (b"gzip", True),
        (b"GZip", True),
        (b"x-gzip", True),
        (b"br, gzip", True),
        (b"br;q=1.0, gzip; q=0.5", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000, *", False),
        (b"*", True),
        (b"*;q=0", False),
        (b"deflate, br", False),
        (b"gzipped", False),
        (b"identity", False),
    ],
)
def test_gzip_is_for_who_takes_it(accepted: bytes | None, taken: bool) -> None:
    assert takes_gzip(accepted) is taken


def make_app() -> Api:
    router = APIRouter()

    @router.get("/text/{size}")
    @compressed
    async def text(size: int, _actor: AnonymousActor) -> Reply:
        if size == 0:
            raise NotFound("x" * 2 * MIN_BYTES)
        return json_response(200, "x" * (size - 2))

    @router.get("/secret")
    async def secret(_actor: AnonymousActor) -> Reply:
        return json_response(200, "x" * 2 * MIN_BYTES)

    @router.get("/parts")
    @compressed
    async def parts(_actor: AnonymousActor) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"x" * 2 * MIN_BYTES
            yield b"y"

        return StreamingResponse(body())

    app = Api(title="Compression", gateway=GatewayOptions(cors_origins=("https://app.example",)))
    app.include_router(router)
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://bank") as client:
        yield client


def wire(answer: httpx.Response) -> tuple[str | None, list[str]]:
    varies = sorted(", ".join(answer.headers.get_list("vary")).split(", "))
    return answer.headers.get("content-encoding"), varies


@pytest.mark.parametrize("size", [MIN_BYTES, THREAD_BYTES, THREAD_BYTES + 1])
async def test_a_long_answer_is_compressed(client: httpx.AsyncClient, size: int) -> None:
    answer = await client.get(f"/text/{size}", headers=GZIP)
    assert wire(answer) == ("gzip", ["Accept-Encoding", "Origin"])
    assert int(answer.headers["content-length"]) < size / 10
    assert len(answer.content) == size
    plain = await client.get(f"/text/{size}", headers=PLAIN)
    assert wire(plain) == (None, ["Accept-Encoding", "Origin"])
    assert plain.content == answer.content
    head = await client.head(f"/text/{size}", headers=GZIP)
    assert head.headers["content-length"] == answer.headers["content-length"]
    assert (head.status_code, wire(head)) == (200, wire(answer))


@pytest.mark.parametrize("path", [f"/text/{MIN_BYTES - 1}", "/text/0", "/secret", "/parts"])
async def test_other_answers_stay_as_they_are(client: httpx.AsyncClient, path: str) -> None:
    """Short ones, problems, what is not marked, and what comes in parts."""
    answer = await client.get(path, headers=GZIP)
    assert wire(answer)[0] is None
    assert ("Accept-Encoding" in wire(answer)[1]) is (path != "/secret")
    assert len(answer.content) > MIN_BYTES - 2


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/docs/assets/start.js"])
async def test_what_never_changes_is_sent_once(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(path, headers=PLAIN)
    short = await client.get(path, headers=GZIP)
    assert short.content == first.content
    assert (short.headers["content-encoding"], wire(first)[0]) == ("gzip", None)
    assert short.headers["etag"] == first.headers["etag"]
    assert first.headers["cache-control"] in {"no-cache", "public, max-age=3600"}
    tag = first.headers["etag"]
    for had in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = await client.get(path, headers={"If-None-Match": had})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert "content-length" not in again.headers
        assert "Accept-Encoding" in again.headers["vary"]
    for other in ('"other"', "", tag[:-2] + '"'):
        answer = await client.get(path, headers={**PLAIN, "If-None-Match": other})
        assert (answer.status_code, answer.content) == (200, first.content)
    head = await client.head(path, headers={"If-None-Match": tag})
    assert head.status_code == 304


async def test_a_picture_is_not_compressed_again(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs/assets/favicon.png", headers=GZIP)
    assert wire(answer)[0] is None


async def test_a_document_that_was_made_at_the_start_costs_a_request_nothing() -> None:
    app = make_app()
    begun = time.perf_counter()
    assert gzip.decompress(app.document.prepare())
    made = time.perf_counter() - begun
    app.openapi_schema = None  # whoever wants it made anew is not this request
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://bank"
    ) as client:
        assert (await client.get("/openapi.json", headers=GZIP)).status_code == 200
    assert app.openapi_schema is None
    assert made > 0
