"""One request and its answer, as the plumbing and the lean routes see them."""

import asyncio
from typing import Any, Final, cast

from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from guilder.api.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DuplicateHeader,
    UnsupportedContentEncoding,
)
from guilder.api.headers import (
    SINGLE_HEADERS,
    TRACEPARENT,
    Headers,
    repeated_headers,
    request_id_of,
)
from guilder.api.held import AT_ONCE_BYTES, UNCOUNTED_BYTES, HeldBytes
from guilder.api.policies import RateLimitPolicy
from guilder.api.problems import problem_of
from guilder.api.replies import Reply
from guilder.api.turns import Turns
from guilder.core.actor import ANONYMOUS, Actor
from guilder.core.errors import BadRequest, Refusal
from guilder.core.parts import Parts

SCOPE_KEY: Final = "guilder.exchange"
MAX_BODY: Final = 16_384
"""Bytes that a body may have unless its route takes more (``max_body_size``)."""
_AS_IT_IS: Final = (b"identity", b"")
"""Of the header ``Content-Encoding``."""


class Exchange:
    """A request, read within its limits, and the answer on its way out.

    ``document`` is the parsed JSON body, ``query`` the checked query parameters and ``actor`` the
    caller: all three stand before an endpoint runs. ``ip_address`` is that of the client, behind
    trusted proxies too, and empty when there is none. ``turns`` are for long work. What is put into
    ``extra_headers`` goes out with the answer, whoever makes it. ``refusal`` is the kind of what
    was answered instead of a success; ``taken`` are buckets that get their token back unless that
    was a wrong guess.
    """

    __slots__ = (
        "_announced",
        "_body",
        "_deadline",
        "_held",
        "_held_bytes",
        "_most",
        "_read",
        "_receive",
        "_send",
        "_standard_headers",
        "_whole",
        "actor",
        "document",
        "extra_headers",
        "facts",
        "headers",
        "ip_address",
        "method",
        "query",
        "refusal",
        "request_id",
        "scope",
        "status",
        "taken",
        "template",
        "turns",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        standard_headers: Headers,
        held_bytes: HeldBytes,
        turns: Turns,
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
        self.facts: dict[str, str] = {}  # what a route adds to the line of the access log
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self.turns = turns
        self.refusal: type[Refusal] | None = None
        self.taken: list[tuple[RateLimitPolicy, str]] = []
        self._standard_headers = standard_headers
        self._receive = receive
        self._send = send
        self._held_bytes = held_bytes
        self._held = ("", 0)
        self._most = self._announced = MAX_BODY
        self._read = 0
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
        for name in (b"x-request-id", TRACEPARENT):
            if name in repeated:
                del self.headers[name]
        self.request_id = request_id_of(self.headers)
        if twice := sorted(SINGLE_HEADERS.intersection(repeated)):
            raise DuplicateHeader(extra={"header": twice[0].decode("ascii").title()})

    def expect_body(self, most: int, seconds: float) -> None:
        """Allow a body of ``most`` bytes that arrives within ``seconds``.

        Raises ``BodyTooLarge`` when its Content-Length is more, ``BadRequest`` when that is not a
        number.
        """
        self._most = self._announced = most
        self._deadline = asyncio.get_running_loop().time() + seconds
        length = self.headers.get(b"content-length")
        if length is not None:
            if not (length.isdigit() and len(length) < 20):
                raise BadRequest("The Content-Length header is not a number.")
            self._announced = int(length)
            if self._announced > most:
                raise BodyTooLarge()

    async def receive(self) -> Message:
        """The next part of the body; there is room for it before it is asked for.

        Raises ``BodyTooLarge`` or ``BodyTooSlow`` past its limits, and ``Overloaded`` when this
        process holds too much of others.
        """
        if self._whole:
            return await self._receive()
        wanted = min(self._read + AT_ONCE_BYTES, self._announced)
        if wanted > UNCOUNTED_BYTES:
            self._hold(wanted)
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow() from None
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._most:
                raise BodyTooLarge()
            self._whole = not message.get("more_body", False)
        return message

    def _hold(self, count: int) -> None:
        caller, held = self._held
        if count <= held:
            return
        if not held:
            caller = self.actor.name if self.actor.user_id is not None else self.ip_address
        self._held_bytes.take(caller, count - held)
        self._held = (caller, count)

    def let_go(self) -> None:
        """The body is held no longer."""
        caller, held = self._held
        if held:
            self._held_bytes.give_back(caller, held)
            self._held = ("", 0)

    async def read_body(self) -> bytes:
        """The whole body, the same however often it is asked for.

        Raises ``UnsupportedContentEncoding`` for one that would have to be decoded first.
        """
        if self._body is not None:
            return self._body
        if self.headers.get(b"content-encoding", b"identity").lower() not in _AS_IT_IS:
            raise UnsupportedContentEncoding()
        first, more = b"", bytearray()
        while not self._whole:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect()
            part = message.get("body", b"")
            if first:
                more += part
            else:
                first = part
        self._body = first if not more else first + more
        return self._body

    def take_document(self) -> Any:
        """The document, which is not kept here any longer: for one that may be large."""
        document, self.document, self._body = self.document, None, b""
        return document

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

    def problem(self, refusal: Refusal, *, status: int | None = None) -> Reply:
        """What the request is refused with; ``status`` is another one than the refusal's own."""
        self.refusal = type(refusal)
        given = self.headers.get(b"authorization", b"")[:7].lower()
        return problem_of(refusal, self.request_id, had_token=given == b"bearer ", status=status)

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
