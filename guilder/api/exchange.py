"""One request and its answer, as the plumbing and the lean routes see them."""

import asyncio
from typing import Any, Final, cast

from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from guilder.api.errors import BodyTooLarge, BodyTooSlow, DuplicateHeader
from guilder.api.headers import SINGLE_HEADERS, Headers, repeated_headers, request_id_of
from guilder.api.replies import Reply
from guilder.core.actor import ANONYMOUS, Actor
from guilder.core.errors import BadRequest
from guilder.core.parts import Parts

SCOPE_KEY: Final = "guilder.exchange"
MAX_BODY: Final = 1_000_000
"""Bytes that a body may have unless its route allows more."""


class Exchange:
    """A request, read within its limits, and the answer on its way out.

    ``document`` is the parsed JSON body, ``query`` the checked query parameters and ``actor`` the
    caller: all three stand before an endpoint runs. ``ip_address`` is that of the client, behind
    trusted proxies too, and empty when there is none. What is put into ``extra_headers`` goes out
    with the answer, whoever makes it.
    """

    __slots__ = (
        "_body",
        "_deadline",
        "_receive",
        "_room",
        "_send",
        "_standard_headers",
        "_whole",
        "actor",
        "document",
        "extra_headers",
        "headers",
        "ip_address",
        "method",
        "query",
        "request_id",
        "scope",
        "status",
        "template",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, standard_headers: Headers
    ) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = ""
        client = scope.get("client")
        self.ip_address: str = client[0] if client else ""
        self.template: str | None = None
        self.actor: Actor = ANONYMOUS
        self.document: Any = None
        self.query: dict[str, str] = {}
        self.status = 0
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self._standard_headers = standard_headers
        self._receive = receive
        self._send = send
        self._room = MAX_BODY
        self._deadline = 0.0
        self._whole = False
        self._body: bytes | None = None

    @property
    def parts(self) -> Parts:
        """The parts of the bank, as the composition root has made them."""
        parts: Parts = self.scope["app"].parts
        return parts

    def header(self, name: bytes) -> str | None:
        """The value of a header given in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def open(self) -> None:
        """Check the headers and take the request id from them.

        Raises ``DuplicateHeader`` when one that decides who asks for what is there twice.
        """
        raw = self.scope["headers"]
        repeated = repeated_headers(raw) if len(raw) != len(self.headers) else ()
        if b"x-request-id" in repeated:
            del self.headers[b"x-request-id"]
        self.request_id = request_id_of(self.headers)
        if twice := sorted(SINGLE_HEADERS.intersection(repeated)):
            raise DuplicateHeader(extra={"header": twice[0].decode("ascii").title()})

    def expect_body(self, most: int, seconds: float) -> None:
        """Allow a body of ``most`` bytes that arrives within ``seconds``.

        Raises ``BodyTooLarge`` when its Content-Length is more, ``BadRequest`` when that is not a
        number.
        """
        self._room = most
        self._deadline = asyncio.get_running_loop().time() + seconds
        length = self.headers.get(b"content-length")
        if length is not None:
            if not (length.isdigit() and len(length) < 20):
                raise BadRequest("The Content-Length header is not a number.")
            if int(length) > most:
                raise BodyTooLarge()

    async def receive(self) -> Message:
        """The next part of the body. Raises ``BodyTooLarge`` or ``BodyTooSlow`` past its limits."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow() from None
        if message["type"] == "http.request":
            self._room -= len(message.get("body", b""))
            if self._room < 0:
                raise BodyTooLarge()
            self._whole = not message.get("more_body", False)
        return message

    async def read_body(self) -> bytes:
        """The whole body, the same however often it is asked for."""
        if self._body is not None:
            return self._body
        parts = []
        while not self._whole:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect()
            parts.append(message.get("body", b""))
        self._body = parts[0] if len(parts) == 1 else b"".join(parts)
        return self._body

    async def send(self, message: Message) -> None:
        """Pass a message on to the server, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            own = {name for name, _ in headers}
            headers += [pair for pair in self._standard_headers if pair[0] not in own]
            headers.append((b"x-request-id", self.request_id.encode("ascii")))
            message["headers"] = headers + self.extra_headers
        elif self.method == "HEAD":
            message = {**message, "body": b""}
        try:
            await self._send(message)
        except OSError:
            raise ClientDisconnect() from None

    async def reply(self, reply: Reply) -> None:
        """Send a finished answer."""
        await self.send(
            {
                "type": "http.response.start",
                "status": reply.status_code,
                "headers": reply.raw_headers,
            }
        )
        await self.send({"type": "http.response.body", "body": reply.body})


def exchange_of(connection: HTTPConnection) -> Exchange:
    """The exchange that a FastAPI request belongs to."""
    return cast(Exchange, connection.scope[SCOPE_KEY])
