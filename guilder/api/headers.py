"""Headers in and out: request ids, headers that may stand once, and the security headers."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from os import urandom
from typing import Final

type Headers = Sequence[tuple[bytes, bytes]]

REQUEST_ID: Final = "X-Request-Id"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
IDEMPOTENCY_REPLAYED: Final = "Idempotency-Replayed"
LOCATION: Final = "Location"

SECURITY_HEADERS: Final[Headers] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""On every answer that does not bring its own: nothing here is a page, and nothing is public."""

HSTS: Final = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")

PAGE_POLICY: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
"""For the pages of the API's reference, whose libraries write styles and a search worker."""

SINGLE_HEADERS: Final = frozenset(
    (b"authorization", b"content-type", b"content-length", b"idempotency-key", b"content-encoding")
)
"""Headers that decide who asks for what: two values would let two readers see two requests."""

TRACEPARENT: Final = b"traceparent"
_TRACE: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
"""W3C Trace Context, section 3.2."""
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


def trace_id_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The id of the trace that a request says it is part of, None when it says none that is one."""
    given = headers.get(TRACEPARENT)
    found = None if given is None else _TRACE.match(given)
    return None if found is None else found[1].decode("ascii")
