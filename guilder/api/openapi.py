"""The OpenAPI document: FastAPI's, with our problems, headers, examples and ways to sign in."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from guilder.api import components as parts
from guilder.api.components import Document
from guilder.api.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DuplicateHeader,
    DuplicateKey,
    DuplicateParameter,
    InternalError,
    InvalidText,
    JsonTooDeep,
    MalformedJson,
    MethodNotAllowed,
    NumberOutOfRange,
    TooManyValues,
    UnknownParameter,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
)
from guilder.api.examples import NoExample, example_of, problem_example
from guilder.api.field_codes import FIELD_CODES
from guilder.api.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, LOCATION, REQUEST_ID
from guilder.api.pagination import CURSOR
from guilder.api.policies import RateLimitPolicy
from guilder.api.problems import PROBLEM_JSON, status_of
from guilder.api.routing import BodyKind, requirements_of
from guilder.core.errors import (
    BadRequest,
    Forbidden,
    IdempotencyConflict,
    IdempotencyInProgress,
    Invalid,
    InvalidCursor,
    NotFound,
    Overloaded,
    RateLimited,
    Refusal,
    SecondFactorDemanded,
    Unauthenticated,
    Unavailable,
)
from guilder.core.permissions import GRANTS, Role

RATE_LIMIT: Final = "x-rate-limit"
"""The member of an operation that names its policy."""
CODES: Final = "x-codes"
"""The member of an operation that lists every code a problem of it may have."""
OPEN_ENUM: Final = "x-extensible-enum"
"""The member of a schema that lists values to which others may be added."""
OTHERWISE: Final = "x-codes-otherwise"
"""The same with other statuses than their usual ones, in the ``responses`` of a route."""
REF_TEMPLATE: Final = "#/components/schemas/{model}"
"""Where the reference has a model, for Pydantic."""

_FASTAPIS: Final = "Successful Response"
_ALWAYS: Final = (
    BadRequest, DuplicateHeader, DuplicateParameter, InvalidText, UnknownParameter, Unavailable,
    RateLimited, InternalError,
)  # fmt: skip
_READING: Final = (
    BodyTooSlow, BodyTooLarge, UnsupportedContentEncoding, UnsupportedMediaType, MalformedJson,
    DuplicateKey, JsonTooDeep, NumberOutOfRange, TooManyValues, Overloaded,
)  # fmt: skip
_KEYED: Final = (IdempotencyInProgress, IdempotencyConflict)
_PLUMBING: Final = (
    *_ALWAYS, *_READING, *_KEYED, Unauthenticated, Forbidden, SecondFactorDemanded,
    NotFound, Invalid, InvalidCursor,
)  # fmt: skip


def refusals(*kinds: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may refuse so: each status with its codes."""
    found: dict[int, list[type[Refusal]]] = {}
    for kind in kinds:
        found.setdefault(status_of(kind), []).append(kind)
    return {
        status: {
            "description": "\n\n".join(f"`{kind.code}`: {kind.detail}" for kind in ours),
            CODES: {kind.code: problem_example(kind) for kind in ours},
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
    schemas: Document = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    examples: Document = {kind.code: {"value": problem_example(kind)} for kind in _PLUMBING}
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            for method in context.methods or ():
                operation = document["paths"][context.path_format][method.lower()]
                _Operation(operation, context, schemas, examples).complete()
    for schema in schemas.values():
        for inner in schema.get("properties", {}).values():
            _tidy(inner)
    names = {name: schema.get("title", name) for name, schema in schemas.items()}
    document["paths"] = _named_by_title(document["paths"], names)
    schemas = {names[name]: _named_by_title(inner, names) for name, inner in schemas.items()}
    codes = {*examples, MethodNotAllowed.code}
    schemas |= {
        "Problem": _with_codes(parts.PROBLEM, codes),
        "ProblemField": _with_codes(parts.PROBLEM_FIELD, FIELD_CODES),
    }
    document["components"] = {
        "schemas": {name: schemas[name] for name in sorted(schemas)},
        "securitySchemes": parts.SECURITY_SCHEMES,
        "parameters": {"RequestId": parts.REQUEST_ID_PARAMETER},
        "headers": parts.HEADERS,
        "examples": {code: examples[code] for code in sorted(examples)},
        "responses": {
            f"Problem{status}": _problem(status, codes=_common_codes(status))
            for status in sorted(parts.STATUSES)
        },
    }
    return document


def _with_codes(schema: Document, codes: Iterable[str]) -> Document:
    """The schema with the values of its ``code`` as an open enum: a client is to bear others."""
    properties: Document = schema["properties"]
    code = {**properties["code"], OPEN_ENUM: sorted(codes)}
    return {**schema, "properties": {**properties, "code": code}}


def _with_others(words: str | None, others: Iterable[str]) -> str | None:
    """What a status means, and the codes that it may have as everywhere."""
    named = ", ".join(f"`{code}`" for code in others)
    return f"{words}\n\nAlso {named}." if words and named else words


def _common_codes(status: int) -> list[str]:
    """The codes that the plumbing alone may answer a status with."""
    return [kind.code for kind in _PLUMBING if status_of(kind) == status]


class _Operation:
    """One operation of the document on its way to what every operation has.

    What it brings for all of the document is put into ``schemas`` and ``examples``.
    """

    def __init__(
        self, operation: Document, context: RouteContext, schemas: Document, examples: Document
    ) -> None:
        self.operation = operation
        self.responses: Document = operation["responses"]
        self.parameters: list[Document] = operation.setdefault("parameters", [])
        self.path = context.path_format or ""
        self.requirements = requirements_of(context)
        self.keyed = any(found.get("name") == IDEMPOTENCY_KEY for found in self.parameters)
        self._name: str = context.name or ""
        self._schemas = schemas
        self._examples = examples

    def complete(self) -> None:
        """Add to the operation what every operation has."""
        requirements, operation = self.requirements, self.operation
        operation["summary"] = self._name.replace("_", " ").capitalize()
        operation["security"] = [] if requirements.permission is None else parts.SECURITY
        if requirements.permission is not None:
            operation["x-permission"] = requirements.permission.value
        if requirements.fresh:
            operation["x-step-up"] = True
        if "HTTPValidationError" in str(self.responses.get("422")):
            del self.responses["422"]
        self._refuse()
        self._answer()
        self._ask()
        operation["responses"] = {name: self.responses[name] for name in sorted(self.responses)}
        operation[RATE_LIMIT] = _rate_limit(requirements.policy)

    def _refuse(self) -> None:
        """Every status with a problem shows its codes, those of the plumbing among them."""
        plumbing: dict[int, list[str]] = {}
        elsewhere = self._given_otherwise()
        for kind in self._plumbing():
            if kind.code not in elsewhere:
                plumbing.setdefault(status_of(kind), []).append(kind.code)
        all_codes = {code for codes in plumbing.values() for code in codes} | elsewhere
        for name, response in list(self.responses.items()):
            own: Document = response.pop(CODES, {})
            otherwise: Document = response.pop(OTHERWISE, {})
            if (status := int(name)) >= 400:
                self._examples |= {code: {"value": example} for code, example in own.items()}
                others = [code for code in plumbing.get(status, ()) if code not in own]
                words = _with_others(response.get("description"), others)
                shown = _problem(status, words, (*own, *others))
                examples = shown["content"][PROBLEM_JSON]["examples"]
                examples |= {code: {"value": example} for code, example in otherwise.items()}
                self.responses[name] = shown
                all_codes |= own.keys()
        for status in plumbing:
            reference = {"$ref": f"#/components/responses/Problem{status}"}
            self.responses.setdefault(str(status), reference)
        self._name_media_types()
        self.operation[CODES] = sorted(all_codes)

    def _given_otherwise(self) -> set[str]:
        """The codes that the operation gives with another status than their usual one alone."""
        usual = {code for found in self.responses.values() for code in found.get(CODES, ())}
        found = {code for one in self.responses.values() for code in one.get(OTHERWISE, ())}
        return found - usual

    def _name_media_types(self) -> None:
        """What reads other types than JSON says so where it refuses one."""
        types = list(self.operation.get("requestBody", {}).get("content", {}))
        if types in ([], ["application/json"]):
            return
        refused, status = UnsupportedMediaType.expecting(*types), status_of(UnsupportedMediaType)
        codes = _common_codes(status)
        others = [code for code in codes if code != refused.code]
        words = _with_others(f"`{refused.code}`: {refused.detail}", others)
        shown = _problem(status, words, codes)
        example = problem_example(UnsupportedMediaType) | {"detail": refused.detail}
        shown["content"][PROBLEM_JSON]["examples"][refused.code] = {"value": example}
        self.responses[str(status)] = shown

    def _answer(self) -> None:
        """Every other answer has its headers and an example."""
        for name, response in self.responses.items():
            if (status := int(name)) >= 400:
                continue
            if response["description"] == _FASTAPIS:
                response["description"] = f"{HTTPStatus(status).phrase}."
            headers = response.setdefault("headers", {})
            headers[REQUEST_ID] = {"$ref": "#/components/headers/RequestId"}
            headers |= parts.LIMIT_HEADERS
            if status == HTTPStatus.CREATED:
                headers[LOCATION] = {"$ref": "#/components/headers/Location"}
            if self.keyed:
                headers[IDEMPOTENCY_REPLAYED] = {"$ref": "#/components/headers/Replayed"}
            for shown in response.get("content", {}).values():
                self._show(shown)

    def _ask(self) -> None:
        """What is asked has words, an example, and no null where there is none on the wire."""
        for parameter in self.parameters:
            _complete_parameter(parameter)
        self.parameters.append({"$ref": "#/components/parameters/RequestId"})
        for asked in self.operation.get("requestBody", {}).get("content", {}).values():
            schema: Document = asked["schema"]
            if "properties" in schema and "title" in schema:
                self._schemas |= schema.pop("$defs", {})
                self._schemas[schema["title"]] = schema
                asked["schema"] = {"$ref": REF_TEMPLATE.format(model=schema["title"])}
            self._show(asked)

    def _show(self, shown: Document) -> None:
        if "example" not in shown:
            with suppress(NoExample):
                shown["example"] = example_of(shown["schema"], self._schemas)

    def _plumbing(self) -> Iterator[type[Refusal]]:
        """What the plumbing alone may refuse the operation with."""
        requirements = self.requirements
        reads = requirements.body is not BodyKind.NONE or "requestBody" in self.operation
        yield from _ALWAYS
        if requirements.permission is not None:
            yield Unauthenticated
            if any(requirements.permission not in granted for granted in GRANTS.values()):
                yield Forbidden
            if requirements.fresh or requirements.permission not in GRANTS[Role.USER]:
                yield SecondFactorDemanded
        if "{" in self.path or requirements.sandbox:
            yield NotFound
        if self.keyed:
            yield from _KEYED
        if any(found.get("name") == CURSOR for found in self.parameters):
            yield InvalidCursor
        if self.keyed or reads or any(found.get("in") == "query" for found in self.parameters):
            yield Invalid
        if reads:
            yield from _READING


def _complete_parameter(parameter: Document) -> None:
    schema: Document = parameter["schema"]
    _tidy(schema)
    schema.pop("examples", None)  # a page to try things out on would send them
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    for choice in choices:
        choice.pop("examples", None)
    if len(choices) == 1:
        del schema["anyOf"]
        parameter["schema"] = {**choices[0], **schema}
    elif choices:
        schema["anyOf"] = choices
    if "description" in parameter:
        parameter["schema"].pop("description", None)
    elif parameter["in"] == "path":
        parameter["description"] = f"The id of the {parameter['name'].removesuffix('_id')}."


def _tidy(schema: Document) -> None:
    """Drop from a field what Pydantic adds and no reader needs: its name again, a null default.

    What may be null is described where it stands, and not inside.
    """
    schema.pop("title", None)
    if schema.get("default", ...) is None:
        del schema["default"]
    for choice in schema.get("anyOf", ()):
        if "description" in choice:
            schema.setdefault("description", choice.pop("description"))


def _named_by_title(node: Any, names: Mapping[str, str]) -> Any:
    """The node with references to schemas by their titles, which for pages are their names."""
    if isinstance(node, list):
        return [_named_by_title(inner, names) for inner in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        start, slash, name = node["$ref"].rpartition("/")
        return {**node, "$ref": start + slash + names.get(name, name)}
    return {name: _named_by_title(inner, names) for name, inner in node.items()}


def _rate_limit(policy: RateLimitPolicy) -> Document:
    rate = policy.rate
    return {
        "policy": policy.name,
        "quota": rate.capacity,
        "window_seconds": rate.window_seconds,
    }


def _problem(status: int, description: str | None = None, codes: Iterable[str] = ()) -> Document:
    headers = {REQUEST_ID: {"$ref": "#/components/headers/RequestId"}}
    return {
        "description": description or parts.STATUSES.get(status, HTTPStatus(status).phrase),
        "headers": headers | parts.HEADERS_OF.get(status, {}),
        "content": {
            PROBLEM_JSON: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }
