"""Endpoints without a body, called without FastAPI's machinery for every request.

What a route declares is read once, as FastAPI has understood it: its parameters, its dependencies
and theirs. A request is then bound in the same order, by the same checks and with the same errors.
A route that declares anything else is left to FastAPI.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from fastapi._compat import ModelField, get_missing_field_error
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from guilder.api.exchange import Exchange

type BoundEndpoint = Callable[[Exchange, Mapping[str, str]], Awaitable[Response]]

_UNKNOWN: Final = (
    "header_params", "cookie_params", "body_params", "websocket_param_name",
    "http_connection_param_name", "response_param_name", "background_tasks_param_name",
    "security_scopes_param_name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of the path or the query; ``name`` is the endpoint's."""

    name: str
    place: str
    alias: str
    field: ModelField

    def given(self, raw: Any, bound: dict[str, Any]) -> list[Any]:
        """Bind what was given, or tell what is wrong with it."""
        value, errors = self.field.validate(raw, bound, loc=(self.place, self.alias))
        if errors:
            return list(errors)
        bound[self.name] = value
        return []

    def missing(self, bound: dict[str, Any]) -> list[Any]:
        """Bind what holds without it, or tell that it is required."""
        if self.field.field_info.is_required():
            return [get_missing_field_error(loc=(self.place, self.alias))]
        if self.field.field_info.validate_default:
            return self.given(self.field.default, bound)
        bound[self.name] = deepcopy(self.field.default)
        return []


@dataclass(frozen=True, slots=True)
class _Parameters:
    """Those of one place. ``absent`` are the ones that are None where they are not given."""

    all: tuple[_Parameter, ...]
    absent: dict[str, None]

    def bind(self, given: Mapping[str, str], bound: dict[str, Any]) -> list[Any]:
        """Bind them, or tell what is wrong with them, in their order."""
        bound |= self.absent
        errors: list[Any] = []
        for one in self.all:
            if one.alias in given:
                errors += one.given(given[one.alias], bound)
            elif one.name not in self.absent:
                errors += one.missing(bound)
        return errors


@dataclass(frozen=True, slots=True)
class _Call:
    """An endpoint or a dependency, and what it is called with."""

    call: Callable[..., Awaitable[Any]]
    name: str | None
    request: str | None
    dependencies: "tuple[_Call, ...]"
    path: _Parameters
    query: _Parameters

    async def bind(
        self, request: Request, path: Mapping[str, str], query: Mapping[str, str]
    ) -> tuple[dict[str, Any], list[Any]]:
        """What it is called with, or what is wrong with the request."""
        bound: dict[str, Any] = {}
        errors: list[Any] = []
        for dependency in self.dependencies:
            arguments, wrong = await dependency.bind(request, path, query)
            if wrong:
                errors += wrong
                continue
            value = await dependency.call(**arguments)
            if dependency.name is not None:
                bound[dependency.name] = value
        errors += self.path.bind(path, bound)
        errors += self.query.bind(query, bound)
        if self.request is not None:
            bound[self.request] = request
        return bound, errors


def bound_endpoint(route: Any) -> BoundEndpoint | None:
    """What answers for a FastAPI route, None where FastAPI has to."""
    if route.body_field is not None:
        return None
    found = _call_of(route.dependant)
    returned = inspect.signature(route.endpoint).return_annotation
    if found is None or not (isinstance(returned, type) and issubclass(returned, Response)):
        return None
    endpoint = found

    async def answer(exchange: Exchange, path: Mapping[str, str]) -> Response:
        request = Request(exchange.scope, exchange.receive)
        bound, errors = await endpoint.bind(request, path, exchange.query)
        if errors:
            raise RequestValidationError(errors)
        response: Response = await endpoint.call(**bound)
        return response

    return answer


def _call_of(dependant: Dependant) -> _Call | None:
    """None for what is not bound here, such as a dependency that is a generator."""
    call: Any = dependant.call
    if any(getattr(dependant, name) for name in _UNKNOWN) or not _is_awaited(call):
        return None
    dependencies = [_call_of(inner) for inner in dependant.dependencies]
    if None in dependencies:
        return None
    return _Call(
        call,
        dependant.name,
        dependant.request_param_name,
        tuple(inner for inner in dependencies if inner is not None),
        _parameters("path", dependant.path_params),
        _parameters("query", dependant.query_params),
    )


def _is_awaited(call: Any) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 - an object that is called
    )


def _parameters(place: str, fields: list[ModelField]) -> _Parameters:
    absent = [
        one.name
        for one in fields
        if one.default is None
        and not (one.field_info.is_required() or one.field_info.validate_default)
    ]
    every = tuple(_Parameter(one.name, place, one.alias, one) for one in fields)
    return _Parameters(every, dict.fromkeys(absent))
