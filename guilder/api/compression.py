"""Gzip and ETags, for answers without a secret in them or near.

Whoever can have something of theirs compressed together with a secret learns the secret from the
length of the answers (BREACH). So nothing is compressed unless its route says that it may be.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping, MutableSequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Send

from guilder.api.headers import Headers

MIN_BYTES: Final = 1024
"""What is shorter goes into one packet anyway."""
LEVEL: Final = 4
"""Half a millisecond for a list of 100 transfers; what more effort saves is not worth its time."""
THREAD_BYTES: Final = 100_000
"""A longer body is compressed in a thread: it would hold other requests up for a millisecond."""
VARY: Final = (b"vary", b"Accept-Encoding")
_ENCODED: Final = (b"content-encoding", b"gzip")
_COMPRESSED: Final = "may_be_compressed"


def compressed[F: Callable[..., Any]](endpoint: F) -> F:
    """Let the answers of the endpoint under this decorator be compressed.

    They hold no secret: no token, no password, no code; nor does what makes them up.
    """
    vars(endpoint)[_COMPRESSED] = True
    return endpoint


def may_be_compressed(endpoint: Callable[..., Any]) -> bool:
    """Whether an endpoint is marked so."""
    return getattr(endpoint, _COMPRESSED, False)


def takes_gzip(accepted: bytes | None) -> bool:
    """Whether a client with this ``Accept-Encoding`` takes gzip: RFC 9110, section 12.5.3."""
    if accepted is None:
        return False
    weights: dict[str, bool] = {}
    for part in accepted.decode("latin-1").lower().split(","):
        coding, _, weight = part.replace(" ", "").replace("\t", "").partition(";")
        weights[coding] = not (weight.startswith("q=") and weight[2:].strip("0.") == "")
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))


def zipped(body: bytes) -> bytes:
    """The body compressed; the same body gives the same bytes."""
    return gzip.compress(body, LEVEL, mtime=0)


class Compressor:
    """Passes an answer on to ``send``, compressed when it is long and comes in one piece."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Take a message; the head waits for the body, which decides about it."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            if start["status"] == 200 and not message.get("more_body", False):
                message = await _compress(start, message)
            await self._send(start)
        await self._send(message)


async def _compress(start: Message, message: Message) -> Message:
    """The body's message, with its head changed accordingly."""
    body: bytes = message.get("body", b"")
    if len(body) < MIN_BYTES:
        return message
    body = zipped(body) if len(body) <= THREAD_BYTES else await asyncio.to_thread(zipped, body)
    start["headers"] = _encoded(start["headers"], len(body))
    return {**message, "body": body}


def _encoded(headers: Headers, length: int) -> MutableSequence[tuple[bytes, bytes]]:
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    return [*kept, _ENCODED, (b"content-length", b"%d" % length)]


class FixedBody:
    """An answer that is always the same, to be asked for again only when it has changed."""

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str]) -> None:
        self._body = body
        self._zipped: bytes | None = None
        tag = hashlib.sha256(body).hexdigest()[:32]
        self.tag = f'W/"{tag}"'
        """Weak: it is the same for both encodings."""
        self._headers = {**headers, "etag": self.tag, "vary": "Accept-Encoding"}
        self._media_type = media_type

    def prepare(self) -> bytes:
        """Compress it, unless that was done before."""
        if self._zipped is None:
            self._zipped = zipped(self._body)
        return self._zipped

    async def answer(self, request: Request) -> Response:
        """The body as the client takes it; 304 when the client has it."""
        if self._is_had(request.headers.get("if-none-match")):
            return Response(None, 304, self._headers)
        accepted = request.headers.get("accept-encoding", "").encode("latin-1")
        if self._media_type.startswith("image/") or not takes_gzip(accepted):
            return Response(self._body, 200, self._headers, self._media_type)
        body = self._zipped or await asyncio.to_thread(self.prepare)
        headers = {**self._headers, "content-encoding": "gzip"}
        return Response(body, 200, headers, self._media_type)

    def _is_had(self, tags: str | None) -> bool:
        if tags is None:
            return False
        bare = self.tag.removeprefix("W/")
        return any(
            one.strip() == "*" or one.strip().removeprefix("W/") == bare for one in tags.split(",")
        )
