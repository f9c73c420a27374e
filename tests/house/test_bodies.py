"""What each route reads: a stranger's body is small, and what is sound fits."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from guilder.api.app import Api
from guilder.api.auth import AnonymousActor
from guilder.api.exchange import MAX_BODY
from guilder.api.routing import requirements_of
from guilder.api.schema import MAX_OPAQUE_LENGTH, RequestBody, Text255
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.api.plumbing import CurrentActor

NOT_AT_THEIR_LONGEST = {"BatchCreate", "PasskeyCreate", "PasskeyLogin", "StepUpCreate"}
"""2,000 transfers of up to 148 kB; and not every part of a credential is as long as one may be."""
ESCAPED = 12
"""Bytes of a character as two escapes."""


def longest(schema: Mapping[str, Any], named: Mapping[str, Any]) -> int:
    """The most bytes of a sound document of this schema."""
    if "$ref" in schema:
        return longest(named[schema["$ref"].rpartition("/")[2]], named)
    if "anyOf" in schema:
        return max(longest(one, named) for one in schema["anyOf"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return 2 + sum(
                len(name) + 4 + longest(one, named) for name, one in schema["properties"].items()
            )
        case "object":
            name, value = int(schema["propertyNames"]["maxLength"]), schema["additionalProperties"]
            return 2 + int(schema["maxProperties"]) * (name * ESCAPED + 4 + longest(value, named))
        case "array":
            return 2 + int(schema["maxItems"]) * (1 + longest(schema["items"], named))
        case "string":
            most = int(schema.get("maxLength", 40))
            # What the bank has made itself is in ASCII, which nobody escapes.
            return 2 + (most if most == MAX_OPAQUE_LENGTH else ESCAPED * most)
        case _:
            return 20


def broken(app: FastAPI) -> Iterator[str]:
    for route in iter_route_contexts(app.routes):
        reads = isinstance(route.original_route, APIRoute) and route.body_field is not None
        if reads and (problem := _problem(route)):
            yield f"{route.path_format}: {problem}"


def _problem(route: RouteContext) -> str | None:
    assert route.body_field is not None
    needs, model = requirements_of(route), route.body_field.field_info.annotation
    if needs.permission is None and needs.most_bytes > MAX_BODY:
        return "a stranger may send much"
    assert isinstance(model, type)
    assert issubclass(model, RequestBody)
    if model.__name__ in NOT_AT_THEIR_LONGEST:
        return None
    schema = model.model_json_schema()
    most = longest(schema, schema.get("$defs", {}))
    return f"a sound body may have {most} bytes" if most > needs.most_bytes else None


def test_every_route_reads_what_it_needs() -> None:
    app = create_app(Settings.model_validate({"env": "test"}))
    assert list(broken(app)) == []


def test_a_bound_that_does_not_fit_is_found() -> None:
    class Words(RequestBody):
        one: Text255
        other: Text255

    router = APIRouter()

    @router.post("/generous", max_body_size=1_000_000)
    async def generous(body: Words, actor: AnonymousActor) -> None: ...

    @router.post("/mean", max_body_size=6_000)
    async def mean(body: Words, actor: CurrentActor) -> None: ...

    @router.post("/fine")
    async def fine(body: Words, actor: AnonymousActor) -> None: ...

    app = Api(title="House", version="1")
    app.include_router(router)
    assert list(broken(app)) == [
        "/generous: a stranger may send much",
        "/mean: a sound body may have 6142 bytes",
    ]
