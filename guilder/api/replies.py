"""Replies in JSON: encoded once, with as little in between as possible."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

API: Final = "/api/v1"
"""Where version 1 of the API is, below the bank's address."""
JSON: Final = b"application/json"
type RawHeaders = list[tuple[bytes, bytes]]
type JsonObject = dict[str, Any]


_encode: Final = msgspec.json.Encoder().encode


def to_json(value: object) -> bytes:
    """Compact UTF-8 JSON of plain values, UUIDs and dates."""
    return _encode(value)


class Reply(Response):
    """A finished answer: a Starlette response without Starlette's work on its headers."""

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        media_type: bytes = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers: RawHeaders = (
            [(b"content-type", media_type), (b"content-length", b"%d" % len(body))] if body else []
        )
        if headers:
            self.raw_headers += [
                (name.lower().encode("ascii"), value.encode("latin-1"))
                for name, value in headers.items()
            ]


def created(
    place: str, body: JsonObject | bytes, headers: Mapping[str, str] | None = None
) -> Reply:
    """Answer 201 with a JSON object, encoded or not, and in ``Location`` where what was made is.

    ``place`` is below the API's path and names members of the body: ``/transfers/{id}``. What has
    no address of its own is at the nearest one that can be read.
    """
    if isinstance(body, bytes):
        facts: JsonObject = msgspec.json.decode(body)
        encoded = body
    else:
        facts, encoded = body, _encode(body)
    location = {"location": API + place.format_map(facts)}
    return Reply(201, encoded, JSON, location if headers is None else {**location, **headers})


def json_response(status: int, value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer ``value`` as JSON; right for FastAPI endpoints and for lean ones."""
    return Reply(status, _encode(value), JSON, headers)
