"""The gateway: the outermost layer, around every request.

It gives the request its id, finds its route, enforces what the route requires, and sees to it that
what comes back is an answer: a refusal becomes a problem, a fault a 500 whose traceback is in the
log alone. Each request leaves one line in the access log and one count in the metrics.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guilder.api.client import TrustedNetwork, client_address
from guilder.api.compression import VARY, Compressor, takes_gzip
from guilder.api.cors import Cors
from guilder.api.errors import InternalError
from guilder.api.exchange import MAX_BODY, SCOPE_KEY, Exchange, exchange_of
from guilder.api.headers import HSTS, SECURITY_HEADERS, Headers, trace_id_of
from guilder.api.held import HeldBytes
from guilder.api.limits import RateLimits
from guilder.api.problems import problem_of_http, refusal_of_http
from guilder.api.replies import Reply
from guilder.api.routing import enforce
from guilder.api.table import RouteTable
from guilder.api.turns import Turns
from guilder.api.validation import refusal_of
from guilder.core.errors import NotFound, Refusal, Unavailable, cause_of
from guilder.core.sparse_log import SparseLog

type RequestHook = Callable[[str, str, int, float, str | None], None]

UNMATCHED: Final = "unmatched"
CLIENT_GONE: Final = 499
"""How the log calls an answer that nobody waited for."""

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_access: Final = logging.getLogger("guilder.access")
_log: Final = logging.getLogger("guilder.api")
_sparse: Final = SparseLog(_log)


def ignore_request(
    _method: str, _template: str, _status: int, _seconds: float, _code: str | None
) -> None:
    """The hook that counts nothing."""


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What the composition root decides about the gateway.

    ``on_request`` is told (method, route template, status, seconds, code of the problem) of every
    answer; ``hsts`` is
    for production, where every client comes over TLS. ``trusted_proxies`` are believed when they
    say for whom they ask; pages of ``cors_origins`` may call from elsewhere.
    """

    on_request: RequestHook = ignore_request
    hsts: bool = False
    body_seconds: float = 30.0
    trusted_proxies: tuple[TrustedNetwork, ...] = ()
    cors_origins: tuple[str, ...] = ()


class Gateway:
    """The ASGI application in front of the routes; ``fallback`` takes what is not in the table."""

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        fallback: ASGIApp,
        options: GatewayOptions,
        handlers: Mapping[Any, Any],
    ) -> None:
        self.table = RouteTable(routes)
        self._fallback = fallback
        self._options = options
        self._proxies = options.trusted_proxies
        self._cors = Cors(options.cors_origins)
        self._handlers = (
            {kind: handler for kind, handler in handlers.items() if _is_inner(kind)},
            {status: handler for status, handler in handlers.items() if type(status) is int},
        )
        self._held = HeldBytes()
        self._turns = Turns()
        self._headers: Headers = (*SECURITY_HEADERS, *((HSTS,) if options.hsts else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; hand anything else (start, stop, sockets) on."""
        if scope["type"] != "http":
            await self._fallback(scope, receive, send)
            return
        begun = perf_counter()
        path: str = scope["path"]
        if path[-1:] == "/" and len(path) > 1:
            scope["path"] = path = path[:-1]
        if root := scope.get("root_path"):
            path = path.removeprefix(root)
        exchange = scope[SCOPE_KEY] = Exchange(
            scope, receive, send, self._headers, self._held, self._turns
        )
        if self._proxies:
            exchange.ip_address = client_address(
                exchange.ip_address, scope["headers"], self._proxies
            )
        try:
            exchange.extra_headers += self._cors.headers_for(exchange.headers)
            exchange.open()
            preflight = self._cors.preflight(exchange.method, exchange.headers)
            if preflight is None:
                await self._answer(exchange, path)
            else:
                await exchange.reply(preflight)
        except Exception as error:  # noqa: BLE001 - the last resort: answers 500 and logs
            await self._failed(exchange, error)
        finally:
            exchange.let_go()
            if exchange.taken and _was_no_wrong_guess(exchange):
                await exchange.parts[RateLimits].settle(exchange)
            self._ended(exchange, perf_counter() - begun)

    async def _answer(self, exchange: Exchange, path: str) -> None:
        if "\0" in path:
            raise NotFound()
        found = self.table.find(exchange.method, path)
        if found is None:
            exchange.expect_body(MAX_BODY, self._options.body_seconds)
            await self._fallback(exchange.scope, exchange.receive, exchange.send)
            return
        entry, path_params = found
        exchange.template, send = entry.template, exchange.send
        if entry.compressed:
            exchange.extra_headers.append(VARY)
            if takes_gzip(exchange.headers.get(b"accept-encoding")):
                send = Compressor(send).send
        exchange.expect_body(entry.requirements.most_bytes, self._options.body_seconds)
        body = await enforce(entry.requirements, exchange)
        if entry.lean is not None:
            del body  # it may be large, and the document is there
            await exchange.reply(await entry.lean(exchange))
            return
        if entry.bound is not None:
            reply = await entry.bound(exchange, path_params)
            await reply(exchange.scope, exchange.receive, send)
            return
        scope = exchange.scope
        scope["path_params"] = path_params
        scope["endpoint"] = entry.endpoint
        scope["route"] = entry.route
        scope["starlette.exception_handlers"] = self._handlers
        if exchange.method == "HEAD":
            scope = {**scope, "method": "GET"}
        receive = exchange.receive if body is None else _again(body, exchange.receive)
        await entry.app(scope, receive, send)

    async def _failed(self, exchange: Exchange, error: Exception) -> None:
        """Answer an exception; log it when it is a fault of ours."""
        if isinstance(error, ClientDisconnect):
            exchange.status = CLIENT_GONE
            return
        reply = reply_to(error, exchange)
        if reply is None:
            fields = {"request_id": exchange.request_id, "route": exchange.template}
            _log.error("unhandled_error", exc_info=error, extra={"fields": fields})
            reply = exchange.problem(InternalError())
        if exchange.status == 0:
            try:
                await exchange.reply(reply)
            except ClientDisconnect:
                exchange.status = CLIENT_GONE

    def _ended(self, exchange: Exchange, seconds: float) -> None:
        status = exchange.status or CLIENT_GONE
        template, method = exchange.template or UNMATCHED, _method(exchange)
        code = None if exchange.refusal is None else exchange.refusal.code
        self._options.on_request(method, template, status, seconds, code)
        if _access.isEnabledFor(logging.INFO):
            fields: dict[str, object] = {
                "request_id": exchange.request_id,
                "actor": exchange.actor.name,
                "method": method,
                "route": template,
                "status": status,
                "duration_ms": round(seconds * 1000, 3),
                "ip_address": exchange.ip_address,
            }
            if code is not None:
                fields["code"] = code
            if exchange.actor.session_id is not None:
                fields["session_id"] = str(exchange.actor.session_id)
            fields |= exchange.facts
            if (trace_id := trace_id_of(exchange.headers)) is not None:
                fields["trace_id"] = trace_id
            _access.info("request", extra={"fields": fields})


def _method(exchange: Exchange) -> str:
    return exchange.method if exchange.method in _METHODS else "OTHER"


def described_request(scope: Scope) -> tuple[str, Mapping[str, str | int]]:
    """The name of a request that has been answered, and its facts, as OpenTelemetry has them."""
    exchange: Exchange = scope[SCOPE_KEY]
    method, template = _method(exchange), exchange.template or UNMATCHED
    facts: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": template,
        "http.response.status_code": exchange.status or CLIENT_GONE,
        "guilder.request_id": exchange.request_id,
    }
    if exchange.refusal is not None:
        facts["error.type"] = exchange.refusal.code
    return f"{method} {template}", facts


def reply_to(error: Exception, exchange: Exchange) -> Reply | None:
    """The problem that an exception becomes; None for a fault of ours.

    Why we cannot answer now is told in the log, once in a while.
    """
    match error:
        case Refusal():
            if isinstance(error, Unavailable) and (error.__cause__ or type(error) is Unavailable):
                fields = {"request_id": exchange.request_id, "route": exchange.template}
                _sparse.tell("unavailable", cause_of(error), code=error.code, **fields)
            return exchange.problem(error)
        case RequestValidationError():
            return exchange.problem(refusal_of(error))
        case HTTPException():
            refusal = refusal_of_http(error)
            if refusal is not None:
                return exchange.problem(refusal)
            return problem_of_http(error, exchange.request_id)
        case _:
            return None


async def answer_error(request: Request, error: Exception) -> Reply:
    """FastAPI's exception handler for all of these; the gateway logs what it answers with 500."""
    exchange = exchange_of(request)
    return reply_to(error, exchange) or exchange.problem(InternalError())


def _was_no_wrong_guess(exchange: Exchange) -> bool:
    """Whether the caller was answered, and not that a guess was wrong."""
    answered = exchange.status not in (0, CLIENT_GONE)
    return answered and not (exchange.refusal and exchange.refusal.wrong_guess)


HANDLED: Final = (Refusal, RequestValidationError, HTTPException, Exception)
"""Exceptions that ``answer_error`` is the handler of."""


def _is_inner(kind: object) -> bool:
    """Whether a handler is for what may go wrong inside a route, the gateway's own case aside."""
    return isinstance(kind, type) and kind is not Exception


def _again(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body out once more before it goes on."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
