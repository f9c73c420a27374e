"""The one table from a refusal's category to a status, and RFC 9457 problems made of it.

A problem never repeats a value that was sent: ``detail`` and the messages of fields come from here
or from the refusal's class, and ``pointer``, ``parameter`` or ``header`` names the place.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException

from guilder.api.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MethodNotAllowed,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
)
from guilder.api.replies import Reply, to_json
from guilder.core.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Refusal,
    Unauthenticated,
    Unavailable,
)

PROBLEM_JSON: Final = "application/problem+json"
TYPE_PREFIX: Final = "/problems/"
"""Where the bank itself tells of a code."""
BEARER: Final = "Bearer"
BEARER_REFUSED: Final = (
    'Bearer error="invalid_token", error_description="It has expired or is not valid."'
)
"""RFC 6750, section 3: a request that brought no token is told nothing more."""
MAX_FIELDS: Final = 100
"""Broken fields that one problem names; a large batch may have thousands."""

STATUS: Final[Mapping[type[Refusal], int]] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Invalid: 422,
    RateLimited: 429,
    Unavailable: 503,
    MethodNotAllowed: 405,
    BodyTooSlow: 408,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    UnsupportedContentEncoding: 415,
    InternalError: 500,
}
_BY_STATUS: Final[Mapping[int, type[Refusal]]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
}


def status_of(kind: type[Refusal]) -> int:
    """The status of a refusal: that of its nearest class in the table."""
    return next((STATUS[base] for base in kind.__mro__ if base in STATUS), 400)


def problem_type(code: str) -> str:
    """The address of what the bank says of a code, relative to its own; see ``reference``."""
    return TYPE_PREFIX + code


def problem_title(code: str) -> str:
    """The same words for every problem of a code: ``Insufficient funds``."""
    return code.replace("_", " ").capitalize()


def problem_of(
    refusal: Refusal, request_id: str, *, had_token: bool = False, status: int | None = None
) -> Reply:
    """The answer that a refusal becomes; ``had_token`` tells whether the request brought one.

    ``status`` is another one than the table's, for where a protocol asks for it.
    """
    status = status or status_of(type(refusal))
    body: dict[str, Any] = {**refusal.extra, **_members(status, refusal.code, refusal.detail)}
    body["request_id"] = request_id
    if isinstance(refusal, Invalid):
        body["errors"] = [_field(error) for error in refusal.fields[:MAX_FIELDS]]
    headers = {}
    if refusal.retry_after_seconds is not None:
        headers["retry-after"] = str(refusal.retry_after_seconds)
    if status == STATUS[Unauthenticated]:
        is_token_bad = had_token and type(refusal) is Unauthenticated
        headers["www-authenticate"] = BEARER_REFUSED if is_token_bad else BEARER
    if isinstance(refusal, MethodNotAllowed):
        headers["allow"] = refusal.allow
    if isinstance(refusal, UnsupportedContentEncoding):
        headers["accept-encoding"] = "identity"
    if isinstance(refusal, BodyTooSlow):
        headers["connection"] = "close"
    return _reply(status, body, headers)


def refusal_of_http(error: HTTPException) -> Refusal | None:
    """The refusal that an exception of Starlette or FastAPI stands for; None when there is none."""
    if error.status_code == 405:
        headers = error.headers or {}
        allow = next((headers[name] for name in headers if name.lower() == "allow"), "")
        return MethodNotAllowed(filter(None, allow.split(", ")))
    kind = _BY_STATUS.get(error.status_code)
    return None if kind is None else kind()


def problem_of_http(error: HTTPException, request_id: str) -> Reply:
    """The answer to an exception of Starlette that stands for no refusal; without its own text."""
    phrase = HTTPStatus(error.status_code).phrase
    body = _members(error.status_code, phrase.lower().replace(" ", "_"), f"{phrase}.")
    return _reply(error.status_code, body | {"request_id": request_id}, dict(error.headers or {}))


def _members(status: int, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": problem_type(code),
        "title": problem_title(code),
        "status": status,
        "detail": detail,
        "code": code,
    }


def _field(error: FieldError) -> dict[str, str]:
    return {error.place: error.where, "code": error.code, "message": error.message}


def _reply(status: int, body: Mapping[str, Any], headers: dict[str, str]) -> Reply:
    return Reply(status, to_json(body), PROBLEM_JSON.encode(), headers)
