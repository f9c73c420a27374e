"""What a route requires of a request, read off its signature, and lean endpoints.

Every route is an ordinary FastAPI route. A lean one is answered by a plain function of the exchange
instead of FastAPI's per-request machinery; its declared endpoint is never called and gives it its
place, its OpenAPI and, as for every route, its ``RouteRequirements``. The gateway enforces those
before either kind runs, so both refuse alike.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params

from guilder.api.auth import (
    PermissionRequired,
    anonymous_actor,
    authenticate,
    require_permission,
    require_step_up,
)
from guilder.api.bounds import most_values_of
from guilder.api.deps import require_sandbox
from guilder.api.errors import (
    DuplicateParameter,
    InvalidText,
    UnknownParameter,
    UnsupportedMediaType,
)
from guilder.api.exchange import MAX_BODY, Exchange
from guilder.api.json_gate import LARGE_BYTES, MAX_VALUES, parse, parse_in_turns
from guilder.api.limits import RateLimits
from guilder.api.policies import READ, RateLimitPolicy, declared_policy, policy_by_method
from guilder.api.replies import Reply
from guilder.core.errors import BadRequest
from guilder.core.permissions import Permission

type LeanEndpoint = Callable[[Exchange], Awaitable[Reply]]

MAX_PARAMETERS: Final = 50
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_.\[\]-]{0,31}")
"""What looks like the name of a parameter and is repeated; a secret in a wrong place is not."""
_LEAN: Final = "answered_by"
_FORM: Final = "application/x-www-form-urlencoded"


def lean[F: Callable[..., Any]](answered_by: LeanEndpoint) -> Callable[[F], F]:
    """Let a plain function answer for the declared endpoint under this decorator.

    It finds the caller, the query and the parsed body in the exchange, checked as for any route,
    and checks the fields of the body itself (``validation.read_body`` with the declared model).
    """

    def mark(declared: F) -> F:
        vars(declared)[_LEAN] = answered_by
        return declared

    return mark


def lean_endpoint(declared: Callable[..., Any]) -> LeanEndpoint | None:
    """The function that answers for a declared endpoint, if one does."""
    return getattr(declared, _LEAN, None)


class BodyKind(Enum):
    """What a route reads."""

    NONE = "none"
    JSON = "json"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class RouteRequirements:
    """What a route requires of a request before its endpoint runs.

    ``permission`` is None on a public route, which ``is_public`` confirms: a route has one or the
    other, and a house test sees to it. ``fresh`` requires a recent step-up; a ``sandbox`` route
    exists in the sandbox only. ``query`` names the parameters that are allowed; with None they are
    not looked at. ``most_bytes`` and ``most_values`` bound the body.
    """

    permission: Permission | None = None
    fresh: bool = False
    is_public: bool = False
    sandbox: bool = False
    query: frozenset[str] | None = frozenset()
    body: BodyKind = BodyKind.NONE
    body_required: bool = True
    most_bytes: int = MAX_BODY
    most_values: int = MAX_VALUES
    policy: RateLimitPolicy = READ


def requirements_of(route: Any) -> RouteRequirements:
    """What a FastAPI route's signature and options require."""
    dependant: Dependant = route.dependant
    query = (f for f in get_flat_params(dependant) if isinstance(f.field_info, params.Query))
    field = route.body_field
    calls = list(_calls(dependant))
    allowed = next((call for call in calls if isinstance(call, PermissionRequired)), None)
    body = BodyKind.NONE
    if field is not None:
        body = BodyKind.FORM if isinstance(field.field_info, params.Form) else BodyKind.JSON
    return RouteRequirements(
        permission=None if allowed is None else allowed.permission,
        fresh=allowed is not None and allowed.fresh,
        is_public=anonymous_actor in calls,
        sandbox=require_sandbox in calls,
        query=frozenset(field.alias for field in query),
        body=body,
        body_required=field is not None and field.field_info.is_required(),
        most_bytes=route.max_body_size or MAX_BODY,
        most_values=MAX_VALUES if field is None else most_values_of(field.field_info.annotation),
        policy=declared_policy(route.endpoint) or policy_by_method(frozenset(route.methods or ())),
    )


def _calls(dependant: Dependant) -> Iterator[Any]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


async def enforce(requirements: RouteRequirements, exchange: Exchange) -> bytes | None:
    """Enforce a route's requirements in a fixed order, and return the body if it was read.

    The order: token, rate limit, permission, step-up, query, body's size and time, its media type,
    the JSON gate.
    """
    limits = exchange.parts.get(RateLimits)
    if requirements.permission is not None:
        await (authenticate(exchange) if limits is None else limits.authenticate(exchange))
    if limits is not None:
        await limits.admit(requirements.policy, exchange)
    if requirements.permission is not None:
        require_permission(exchange.actor, requirements.permission)
    if requirements.fresh:
        await require_step_up(exchange)
    if requirements.query is not None and (raw := exchange.scope["query_string"]):
        exchange.query = read_query(raw, requirements.query)
    if requirements.body is BodyKind.NONE:
        return None
    body = await exchange.read_body()
    if requirements.body is BodyKind.FORM:
        _check_form(exchange, body)
    elif body or requirements.body_required:
        _check_json_type(exchange.headers.get(b"content-type"), body)
        exchange.document = await _document_in(body, requirements.most_values, exchange)
    return body


async def _document_in(body: bytes, most_values: int, exchange: Exchange) -> object:
    if len(body) <= LARGE_BYTES:
        return parse(body, most_values)
    async with exchange.turns.turn() as turn:
        return await parse_in_turns(body, most_values, turn)


def read_query(raw: bytes, known: frozenset[str]) -> dict[str, str]:
    """The query's parameters.

    Raises ``UnknownParameter``, ``DuplicateParameter``, ``InvalidText`` for NUL, and ``BadRequest``
    for too many of them.
    """
    if b"%00" in raw or b"\0" in raw:
        raise InvalidText()
    try:
        pairs = parse_qsl(
            raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise BadRequest("The query has too many parameters.") from None
    query = dict(pairs)
    if not query.keys() <= known:
        unknown = next(name for name in query if name not in known)
        named = {"parameter": unknown} if _NAME.fullmatch(unknown) else {}
        raise UnknownParameter(extra={**named, "known": sorted(known)})
    if len(query) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DuplicateParameter(extra={"parameter": twice})
    return query


def _check_json_type(content_type: bytes | None, body: bytes) -> None:
    if content_type == b"application/json" or not body:
        return
    kind = _media_type(content_type)
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise UnsupportedMediaType()


def _check_form(exchange: Exchange, body: bytes) -> None:
    if body and _media_type(exchange.headers.get(b"content-type")) != _FORM:
        raise UnsupportedMediaType.expecting(_FORM)
    if b"%00" in body or b"\0" in body:
        raise InvalidText()


def _media_type(content_type: bytes | None) -> str:
    return (content_type or b"").partition(b";")[0].strip().lower().decode("latin-1")
