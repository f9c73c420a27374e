"""Examples for the reference, made of the examples of single fields.

A schema with an example of its own is shown by it. An object without one shows what it must have,
and what else has an example.
"""

from collections.abc import Mapping
from typing import Any, Final

from guilder.api.problems import problem_title, problem_type, status_of
from guilder.core.errors import Invalid, Refusal

type Schema = Mapping[str, Any]

REQUEST_ID_EXAMPLE: Final = "5f0c9a3e7b21d4a6c8e000000000002a"
_BY_FORMAT: Final[Mapping[str, str]] = {
    "uuid": "0198c6ba-7c1a-7000-8000-0000000000aa",
    "date-time": "2026-11-02T09:30:00.000000Z",
    "date": "2026-11-02",
}
_BY_TYPE: Final[Mapping[str, Any]] = {"boolean": True, "number": 0.5, "null": None}


class NoExample(ValueError):
    """A text has no example, and no rule could make one up."""


def example_of(schema: Schema, components: Mapping[str, Schema]) -> Any:
    """A sound value for a schema of the reference; ``components`` are the schemas by name.

    Raises ``NoExample``.
    """
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], components)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = str(schema.get("type"))
    if kind == "array":
        return [example_of(schema["items"], components)]
    if kind == "object":
        return _object(schema, components)
    if kind == "integer":
        return schema.get("default", schema.get("minimum", 1))
    if kind in _BY_TYPE:
        return schema.get("default", _BY_TYPE[kind])
    if schema.get("format") not in _BY_FORMAT:
        raise NoExample(f"no example for {dict(schema)}")
    return _BY_FORMAT[schema["format"]]


def _object(schema: Schema, components: Mapping[str, Schema]) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: example_of(inner, components)
        for name, inner in schema.get("properties", {}).items()
        if name in required or "examples" in inner
    }


def problem_example(kind: type[Refusal], status: int | None = None) -> dict[str, Any]:
    """The problem that a refusal of this kind becomes, with its usual status or another one."""
    status = status or status_of(kind)
    problem = {
        "type": problem_type(kind.code),
        "title": problem_title(kind.code),
        "status": status,
        "detail": kind.detail,
        "code": kind.code,
        "request_id": REQUEST_ID_EXAMPLE,
        **kind.extra_example,
    }
    if issubclass(kind, Invalid):
        problem["errors"] = [_FIELD] if kind is Invalid else []
    return problem


_FIELD: Final = {
    "pointer": "/amount",
    "code": "out_of_range",
    "message": "The amount must be from 1 to 9007199254740991.",
}
