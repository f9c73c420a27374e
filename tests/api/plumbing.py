"""A small application on the plumbing alone: the same operation cold and lean, and odd routes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
from fastapi import APIRouter, Body, Form
from fastapi.responses import StreamingResponse
from pydantic import Field, model_validator
from starlette.types import Message

from guilder.api.app import Api
from guilder.api.auth import AnonymousActor, Principal, TokenCache, requires
from guilder.api.deps import TheExchange
from guilder.api.exchange import Exchange
from guilder.api.fields import InvalidValue
from guilder.api.idempotency import IdempotencyKey, key_text
from guilder.api.middleware import GatewayOptions
from guilder.api.openapi import refusals
from guilder.api.pagination import PageOut, PageQuery, page_body
from guilder.api.replies import Reply, json_response
from guilder.api.routing import lean
from guilder.api.schema import (
    Amount,
    Boolean,
    Currency,
    Day,
    Instant,
    InstantInput,
    Metadata,
    Name100,
    QueryBoolean,
    Reference64,
    RequestBody,
    ResponseBody,
    Text255,
    Uuid,
)
from guilder.api.validation import read_body
from guilder.core.actor import Actor
from guilder.core.clock import SECOND_US, FixedClock, iso_instant
from guilder.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyConflict,
    Invalid,
    NotFound,
    Overloaded,
    RateLimited,
    Refusal,
    Unauthenticated,
)
from guilder.core.page import paginate
from guilder.core.parts import Parts
from guilder.core.permissions import Permission, Role
from guilder.infra.security.cursors import CursorSealer

CurrentActor = Annotated[Actor, requires(Permission.ACCOUNTS_READ)]
WritingActor = Annotated[Actor, requires(Permission.ACCOUNTS_WRITE)]
AdminActor = Annotated[Actor, requires(Permission.USERS_WRITE)]

NOW = 1_700_000_000 * SECOND_US
USER = UUID("0190a000-0000-7000-8000-000000000001")
SESSION = UUID("0190a000-0000-7000-8000-00000000000a")
TOKENS = {"user": Role.USER, "admin": Role.ADMIN, "reader": Role.READONLY}
SIGNED_IN = {"Authorization": "Bearer user"}
COLD, LEAN = "/api/v1/moves/cold", "/api/v1/moves"


class Gates:
    """A fake of the port ``Authenticator``: three tokens, counted proofs, revocation."""

    def __init__(self) -> None:
        self.proofs = 0
        self.revoked = False

    async def authenticate(self, token: str) -> Principal:
        self.proofs += 1
        if self.revoked or token not in TOKENS:
            raise Unauthenticated()
        return Principal(USER, TOKENS[token], SESSION, NOW + 900 * SECOND_US)


class Frozen(Conflict):
    code = "frozen"
    detail = "It is frozen."


class MoveCreate(RequestBody):
    from_id: Uuid
    to_id: Uuid
    amount: Amount
    currency: Currency | None = None
    description: Text255 | None = None
    reference: Reference64 | None = None
    metadata: Metadata | None = None
    name: Name100 = "nobody"
    urgent: Boolean = False
    on: Day | None = None
    at: InstantInput | None = None

    @model_validator(mode="after")
    def two_sides(self) -> "MoveCreate":
        if self.from_id == self.to_id:
            raise InvalidValue("same", "The two must differ.", ("to_id",)).as_pydantic()
        return self


class MoveOut(ResponseBody):
    id: Uuid
    amount: int
    description: str | None
    created_at: Instant


class Batch(RequestBody):
    moves: Annotated[list[MoveCreate], Field(min_length=1, max_length=3)]


def answer_of(move: MoveCreate) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "amount": move.amount,
        "description": move.description,
        "created_at": "2023-11-14T22:13:20.000000Z",
    }


async def lean_move(exchange: Exchange) -> Reply:
    move = read_body(MoveCreate, exchange.document)
    key_text(exchange)
    return json_response(201, answer_of(move))


async def lean_fault(_: Exchange) -> Reply:
    raise RuntimeError("canary-4111111111111111")


RAISED: dict[str, Refusal] = {
    "plain": Refusal(),
    "unauthenticated": Unauthenticated(),
    "forbidden": Forbidden("Not you."),
    "missing": NotFound(),
    "frozen": Frozen(),
    "limit": Invalid("Over the limit.", extra={"limit": 5, "used": 4, "status": 1}),
    "field": Invalid(fields=(FieldError("/a", "odd", "It is odd."),)),
    "conflict": IdempotencyConflict(),
    "often": RateLimited(retry_after_seconds=7),
    "busy": Overloaded(),
}


def make_router() -> APIRouter:
    router = APIRouter()

    @router.post("/moves", status_code=201, responses=refusals(Frozen, Overloaded))
    @lean(lean_move)
    async def create_move(
        body: MoveCreate, actor: CurrentActor, key: IdempotencyKey, dry_run: QueryBoolean = False
    ) -> MoveOut:
        """Move something."""
        raise NotImplementedError

    @router.post("/moves/cold", status_code=201)
    async def create_cold_move(
        body: MoveCreate, actor: CurrentActor, key: IdempotencyKey, dry_run: QueryBoolean = False
    ) -> MoveOut:
        return MoveOut(
            id=uuid4(),
            amount=body.amount,
            description=body.description,
            created_at=iso_instant(NOW),
        )

    @router.post("/moves/batches", status_code=201, max_body_size=8_000_000)
    async def create_batch(body: Batch, actor: WritingActor) -> dict[str, int]:
        return {"accepted": len(body.moves)}

    @router.get("/moves")
    async def list_moves(actor: CurrentActor, page: PageQuery) -> PageOut[str]:
        first = int(page.after or 0) + page.offset
        rows = [str(number) for number in range(first + 1, 8)][: page.limit + 1]
        return PageOut[str].model_validate(page_body(paginate(rows, page, str), str))

    @router.get("/moves/{move_id}")
    async def get_move(move_id: Uuid, actor: CurrentActor) -> dict[str, str]:
        return {"id": str(move_id)}

    @router.delete("/moves/current", status_code=204)
    async def delete_current(actor: AdminActor) -> None:
        return None

    return router


OWN_BODY: dict[str, Any] = {"requestBody": {"content": {"application/json": {"schema": {}}}}}


def make_odd_router() -> APIRouter:
    router = APIRouter()

    @router.post("/optional")
    async def optional(body: Annotated[MoveCreate | None, Body()] = None) -> dict[str, bool]:
        return {"given": body is not None}

    @router.post("/login")
    async def login(
        username: Annotated[str, Form()], password: Annotated[str, Form()], actor: AnonymousActor
    ) -> dict[str, str]:
        return {"who": username, "actor": actor.name}

    @router.post("/own-reading", openapi_extra=OWN_BODY, responses=refusals(Invalid))
    async def own_reading(exchange: TheExchange) -> dict[str, object]:
        body = await exchange.read_body()
        assert await exchange.read_body() is body
        return {"size": len(body), "agent": exchange.header(b"user-agent")}

    @router.get("/text")
    async def text(q: str = "") -> dict[str, str]:
        return {"q": q}

    return router


def make_faults() -> APIRouter:
    router = APIRouter()

    @router.get("/raised/{name}")
    async def raise_it(name: str) -> None:
        raise RAISED[name]

    @router.get("/fault")
    async def fault() -> None:
        raise RuntimeError("canary-4111111111111111")

    @router.post("/lean-fault")
    @lean(lean_fault)
    async def declared_fault() -> None:
        raise NotImplementedError

    return router


def make_streams() -> APIRouter:
    router = APIRouter()

    @router.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError("in the middle")

        return StreamingResponse(parts())

    @router.get("/slowly")
    async def slowly() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(5):
                await asyncio.sleep(0.02)
                yield b"."

        return StreamingResponse(parts())

    return router


def make_app(gates: Gates | None = None, options: GatewayOptions | None = None) -> Api:
    app = Api(title="Plumbing", version="1", gateway=options)
    app.include_router(make_router(), prefix="/api/v1")
    app.include_router(make_odd_router(), prefix="/odd")
    app.include_router(make_streams(), prefix="/odd")
    app.include_router(make_faults(), prefix="/odd")
    tokens = TokenCache(gates or Gates(), FixedClock(NOW))
    app.parts = Parts(tokens, CursorSealer(b"c" * 32))
    return app


def client_of(app: Api) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://bank", headers=SIGNED_IN)


def move(**changes: object) -> dict[str, object]:
    """A sound body; a change to ``...`` takes the field away."""
    sound = {"from_id": str(USER), "to_id": str(SESSION), "amount": 100}
    return {name: value for name, value in (sound | changes).items() if value is not ...}


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in a response, after a look at what every problem must have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == status
    assert body["title"] == code.replace("_", " ").capitalize()
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


async def call_raw(
    app: Api,
    messages: list[Message],
    *,
    method: str = "POST",
    path: str = LEAN,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> list[Message]:
    """Speak ASGI to the application without a client in between."""
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer user"), *headers],
        "client": ("192.0.2.1", 1),
    }
    await app(scope, receive, send)
    return sent
