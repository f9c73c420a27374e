"""Cross-origin requests (the CORS protocol of the Fetch standard): which pages may call.

Nobody may unless listed. Who calls is told by a bearer token, never by a cookie, so that no answer
ever allows credentials.
"""

from collections.abc import Collection, Mapping
from typing import Final

from guilder.api.headers import (
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    LOCATION,
    REQUEST_ID,
    Headers,
)
from guilder.api.replies import Reply

ANY: Final = "*"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ALLOWED: Final = (
    "Authorization", "Content-Type", IDEMPOTENCY_KEY, REQUEST_ID, "traceparent", "tracestate",
)  # fmt: skip
EXPOSED: Final = (
    REQUEST_ID,
    IDEMPOTENCY_REPLAYED,
    LOCATION,
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "Retry-After",
    "WWW-Authenticate",
)
REMEMBER_SECONDS: Final = 600

_VARY: Final = (b"vary", b"Origin")


class Cors:
    """What pages of these origins, given as browsers send them, may ask and read."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)
        self._exposed = (b"access-control-expose-headers", ", ".join(EXPOSED).encode("ascii"))

    def headers_for(self, headers: Mapping[bytes, bytes]) -> Headers:
        """What goes onto the answer to a request with these headers, whatever it answers."""
        if not self._origins:
            return ()
        if ANY.encode() in self._origins:
            return ((b"access-control-allow-origin", b"*"), self._exposed)
        origin = headers.get(b"origin")
        if origin not in self._origins:
            return (_VARY,)
        return ((b"access-control-allow-origin", origin), self._exposed, _VARY)

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> Reply | None:
        """The answer to a browser that asks before it calls; None when that is not what it does.

        It is the same for every path: what is there and who may use it is told by the call itself.
        """
        asks = b"origin" in headers and b"access-control-request-method" in headers
        if not self._origins or method != "OPTIONS" or not asks:
            return None
        return Reply(
            204,
            headers={
                "access-control-allow-methods": ", ".join(METHODS),
                "access-control-allow-headers": ", ".join(ALLOWED),
                "access-control-max-age": str(REMEMBER_SECONDS),
            },
        )
