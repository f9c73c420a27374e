"""Headers in and out: request ids, headers that may stand once, and the security headers."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import count
from os import urandom
from typing import Final

type Headers = Sequence[tuple[bytes, bytes]]

REQUEST_ID: Final = "X-Request-Id"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
IDEMPOTENCY_REPLAYED: Final = "Idempotency-Replayed"

SECURITY: Final[Headers] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""On every answer that does not bring its own: nothing here is a page, and nothing is public."""

STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")

DOCS_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; connect-src 'self'; frame-ancestors 'none'; worker-src blob:; "
    b"script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; "
    b"img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly",
)
"""For the pages of the API's reference alone: their scripts come from elsewhere."""

ONCE: Final = frozenset(
    (b"authorization", b"content-type", b"content-length", b"idempotency-key", b"content-encoding")
)
"""Headers that decide who asks for what: two values would let two readers see two requests."""

_PROCESS: Final = urandom(10).hex()
_numbers: Final = count(1)
_SAFE_ID: Final = re.compile(rb"[A-Za-z0-9._~:+/=@-]{1,128}")


def repeated_headers(raw: Headers) -> set[bytes]:
    """The names that stand more than once."""
    times = Counter(name for name, _ in raw)
    return {name for name in times if times[name] > 1}


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """The client's own request id when it is short and safe to log, else a fresh one.

    A fresh one is unique, not secret: the process's random part and a number.
    """
    given = headers.get(b"x-request-id")
    if given is not None and _SAFE_ID.fullmatch(given):
        return given.decode("ascii")
    return f"{_PROCESS}{next(_numbers):012x}"
