"""The OpenAPI document: FastAPI's, with our problems, headers and ways to sign in."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from guilder.api.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DuplicateHeader,
    DuplicateKey,
    InvalidText,
    JsonTooDeep,
    MalformedJson,
    NumberOutOfRange,
    UnknownParameter,
    UnsupportedMediaType,
)
from guilder.api.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, REQUEST_ID
from guilder.api.pagination import CURSOR
from guilder.api.policies import RateLimitPolicy
from guilder.api.problems import INTERNAL_ERROR, PROBLEM_JSON, status_of
from guilder.api.routing import BodyKind, RouteRequirements, requirements_of
from guilder.core.errors import (
    BadRequest,
    Forbidden,
    IdempotencyConflict,
    IdempotencyInProgress,
    Invalid,
    InvalidCursor,
    NotFound,
    RateLimited,
    Refusal,
    Unauthenticated,
    Unavailable,
)
from guilder.core.permissions import GRANTS

type Document = dict[str, Any]

LOGIN_PATH: Final = "/auth/login"
RATE_LIMIT: Final = "x-rate-limit"
"""The member of an operation that names its policy."""
CODES: Final = "x-codes"
"""The member of an operation that lists every code a problem of it may have."""

_STRING: Final = {"type": "string"}
_FIELD: Final[Document] = {
    "type": "object",
    "title": "ProblemField",
    "required": ["pointer", "code", "message"],
    "properties": {
        "pointer": {**_STRING, "description": "RFC 6901 pointer to the field."},
        "code": {**_STRING, "description": "Stable."},
        "message": {**_STRING, "description": "For people."},
    },
}
_PROBLEM: Final[Document] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. Some codes carry more members, such as limit, used, remaining.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {**_STRING, "format": "uri", "description": "Stable, one for each code."},
        "title": _STRING,
        "status": {"type": "integer"},
        "detail": {**_STRING, "description": "One sentence for people."},
        "code": {**_STRING, "description": "Stable; what programs look at."},
        "request_id": _STRING,
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemField"}},
    },
}
_SECURITY_SCHEMES: Final[Document] = {
    "OAuth2Password": {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": LOGIN_PATH, "scopes": {}}},
    },
    "Bearer": {"type": "http", "scheme": "bearer", "description": "Access token or API key."},
}
_SECURITY: Final[list[dict[str, list[str]]]] = [{"OAuth2Password": []}, {"Bearer": []}]
_REQUEST_ID: Final[Document] = {
    "name": REQUEST_ID,
    "in": "header",
    "required": False,
    "description": "Your own id for the request, given back in the answer and kept in our logs. "
    "One that is longer than 128 or has other characters than A-Z a-z 0-9 . _ ~ : + / = @ - "
    "is replaced by a fresh one.",
    "schema": _STRING,
}
_HEADERS: Final[Document] = {
    "RequestId": {"description": "The id of the request.", "schema": _STRING},
    "Replayed": {
        "description": "`true` when this is the answer that was given before.",
        "schema": _STRING,
    },
    "RateLimit": {
        "description": "The policy, how many requests are left (`r`) and in how many seconds all "
        "are there again (`t`), as a structured field.",
        "schema": _STRING,
    },
    "RateLimitPolicy": {
        "description": "The policy, its quota (`q`) and its window in seconds (`w`), as a "
        "structured field.",
        "schema": _STRING,
    },
    "RateLimitLimit": {"description": "The quota.", "schema": {"type": "integer"}},
    "RateLimitRemaining": {"description": "Requests left.", "schema": {"type": "integer"}},
    "RateLimitReset": {
        "description": "Seconds until the whole quota is there again.",
        "schema": {"type": "integer"},
    },
    "RetryAfter": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "Authenticate": {"description": "How to sign in.", "schema": _STRING},
}
_LIMIT_HEADERS: Final[Document] = {
    name: {"$ref": f"#/components/headers/{kept}"}
    for name, kept in {
        "RateLimit": "RateLimit",
        "RateLimit-Policy": "RateLimitPolicy",
        "X-RateLimit-Limit": "RateLimitLimit",
        "X-RateLimit-Remaining": "RateLimitRemaining",
        "X-RateLimit-Reset": "RateLimitReset",
    }.items()
}
_HEADERS_OF: Final[Mapping[int, Document]] = {
    401: {"WWW-Authenticate": {"$ref": "#/components/headers/Authenticate"}},
    429: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}, **_LIMIT_HEADERS},
    503: {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
}


def refusals(*kinds: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may refuse so: each status with its codes."""
    found: dict[int, list[type[Refusal]]] = {}
    for kind in kinds:
        found.setdefault(status_of(kind), []).append(kind)
    return {
        status: {
            "description": "\n\n".join(f"`{kind.code}`: {kind.detail}" for kind in ours),
            CODES: [kind.code for kind in ours],
        }
        for status, ours in found.items()
    }


def openapi_of(app: FastAPI) -> Document:
    """The document of an application; the same code gives the same document."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=app.servers,
        license_info=app.license_info,
    )
    components = document.setdefault("components", {})
    schemas: Document = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Problem": _PROBLEM, "ProblemField": _FIELD}
    components["schemas"] = {name: schemas[name] for name in sorted(schemas)}
    components["securitySchemes"] = _SECURITY_SCHEMES
    components["parameters"] = {"RequestId": _REQUEST_ID}
    components["headers"] = _HEADERS
    statuses = sorted(_DESCRIPTIONS)
    components["responses"] = {f"Problem{status}": _problem(status) for status in statuses}
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            requirements = requirements_of(context)
            for method in context.methods or ():
                operation = document["paths"][context.path_format][method.lower()]
                _complete(operation, context.path_format or "", requirements)
    return document


_DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The request cannot be read or carried out as it stands.",
    401: "No valid access token.",
    403: "Not allowed.",
    404: "It does not exist, or it is not yours.",
    408: "The body did not arrive in time.",
    409: "The present state does not allow it.",
    413: "The body is too large.",
    415: "The body has another media type.",
    422: "Fields break their rules; `errors` names them.",
    429: "Too many requests.",
    500: "A fault of ours.",
    503: "The service cannot answer now.",
}


def _complete(operation: Document, path: str, requirements: RouteRequirements) -> None:
    """Add to one operation what every operation has."""
    parameters: list[Document] = operation.setdefault("parameters", [])
    names = {found.get("name", "") for found in parameters}
    reads = requirements.body is not BodyKind.NONE or "requestBody" in operation
    checked = reads or any(found.get("in") == "query" for found in parameters)
    parameters.append({"$ref": "#/components/parameters/RequestId"})
    if requirements.permission is not None:
        operation["security"] = _SECURITY
        operation["x-permission"] = requirements.permission.value
    if requirements.fresh:
        operation["x-step-up"] = True
    responses: Document = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    codes = {code for found in responses.values() for code in found.pop(CODES, ())}
    keyed = IDEMPOTENCY_KEY in names
    plumbing = tuple(_plumbing(path, requirements, names, checked=checked, reads=reads))
    operation[CODES] = sorted({INTERNAL_ERROR, *codes, *(kind.code for kind in plumbing)})
    for status in (500, *map(status_of, plumbing)):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    for status_text in list(responses):
        if (status := int(status_text)) >= 400 and "$ref" not in responses[status_text]:
            responses[status_text] = _problem(status, responses[status_text].get("description"))
        elif status < 400:
            headers = responses[status_text].setdefault("headers", {})
            headers[REQUEST_ID] = {"$ref": "#/components/headers/RequestId"}
            if requirements.policy.rate is not None:
                headers |= _LIMIT_HEADERS
            if keyed:
                headers[IDEMPOTENCY_REPLAYED] = {"$ref": "#/components/headers/Replayed"}
    operation["responses"] = {name: responses[name] for name in sorted(responses)}
    operation[RATE_LIMIT] = _rate_limit(requirements.policy)


def _plumbing(
    path: str, requirements: RouteRequirements, names: set[str], *, checked: bool, reads: bool
) -> Iterator[type[Refusal]]:
    """What the plumbing alone may refuse an operation with; ``names`` are those of parameters."""
    yield from (BadRequest, DuplicateHeader, InvalidText, UnknownParameter, Unavailable)
    if requirements.permission is not None or requirements.policy.rate is not None:
        yield RateLimited
    if requirements.permission is not None:
        yield Unauthenticated
        if any(requirements.permission not in granted for granted in GRANTS.values()):
            yield Forbidden
    if "{" in path or requirements.sandbox:
        yield NotFound
    if CURSOR in names:
        yield InvalidCursor
    if keyed := IDEMPOTENCY_KEY in names:
        yield from (IdempotencyInProgress, IdempotencyConflict)
    if keyed or checked:
        yield Invalid
    if reads:
        yield from (BodyTooSlow, BodyTooLarge, UnsupportedMediaType)
        yield from (MalformedJson, DuplicateKey, JsonTooDeep, NumberOutOfRange)


def _rate_limit(policy: RateLimitPolicy) -> Document:
    rate = policy.rate
    numbers = (
        {} if rate is None else {"quota": rate.capacity, "window_seconds": rate.window_seconds}
    )
    return {"policy": policy.name, **numbers}


def _problem(status: int, description: str | None = None) -> Document:
    headers = {REQUEST_ID: {"$ref": "#/components/headers/RequestId"}}
    return {
        "description": description or _DESCRIPTIONS.get(status, HTTPStatus(status).phrase),
        "headers": headers | _HEADERS_OF.get(status, {}),
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
