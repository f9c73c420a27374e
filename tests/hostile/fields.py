"""Every place of every operation that a client fills in, read from OpenAPI."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.hostile.oracle import Schema

JSON = "application/json"
HERE = "@@here@@"
"""Stands in a sound body where the hostile fragment goes."""

type Document = dict[str, Any]
type Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Field:
    """One place: ``place`` is its pointer, ``kind`` is body, query or path."""

    method: str
    path: str
    kind: str
    place: Place
    schema: Schema
    statuses: frozenset[int]

    @property
    def pointer(self) -> str:
        return "".join(f"/{part}" for part in self.place)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path} {self.kind} {self.pointer}"


def fields(document: Document) -> Iterator[Field]:
    """All of them; a list in a body counts by its first item."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            statuses = frozenset(map(int, operation["responses"]))
            for parameter in operation.get("parameters", ()):
                given = resolved(document, parameter)
                if given["in"] in ("query", "path"):
                    schema = resolved(document, given["schema"])
                    yield Field(
                        method.upper(), path, given["in"], (given["name"],), schema, statuses
                    )
            if (body := body_schema(document, operation)) is not None:
                for place, schema in _leaves(document, body, ()):
                    yield Field(method.upper(), path, "body", place, schema, statuses)


def body_schema(document: Document, operation: Document) -> Schema | None:
    """The schema of an operation's JSON body, None without one."""
    content = operation.get("requestBody", {}).get("content", {})
    return resolved(document, content[JSON]["schema"]) if JSON in content else None


def resolved(document: Document, node: Any) -> Any:
    """The node with every reference in it followed."""
    if isinstance(node, list):
        return [resolved(document, inner) for inner in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return resolved(document, target)
    return {name: resolved(document, inner) for name, inner in node.items()}


def _leaves(document: Document, schema: Schema, place: Place) -> Iterator[tuple[Place, Schema]]:
    """The places below; an object or a list that has places of its own is one itself, too."""
    for one in schema.get("anyOf", [schema]):
        if one.get("type") == "object" and "properties" in one:
            if place:
                yield place, schema
            for name, inner in one["properties"].items():
                yield from _leaves(document, inner, (*place, name))
            return
        if one.get("type") == "array" and "properties" in one.get("items", {}):
            yield place, schema
            yield from _leaves(document, one["items"], (*place, 0))
            return
    yield place, schema


def sample(schema: Schema, known: dict[str, Any]) -> Any:
    """A value for a schema, ``known`` ones by their names; nothing else that is optional."""
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], known)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("type") == "object":
        wanted = [
            n for n in schema.get("properties", {}) if n in schema.get("required", ()) or n in known
        ]
        return {
            n: known[n] if n in known else sample(schema["properties"][n], known) for n in wanted
        }
    if schema.get("type") == "array":
        return [sample(schema["items"], known)] * schema.get("minItems", 0)
    plain = {"integer": schema.get("minimum", 1), "boolean": True, "null": None}
    if schema.get("type") in plain:
        return plain[schema["type"]]
    formats = {
        "uuid": "0198c6ba-0000-7000-8000-00000000abcd", "date": "2026-01-31",
        "date-time": "2026-01-31T10:00:00Z", "email": "somebody@example.test",
        "password": "correct horse battery",
    }  # fmt: skip
    return formats.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1)))


def with_hole(body: Any, place: Place) -> tuple[bytes, bytes]:
    """The body around a place, as what comes before it and what comes after."""
    copy = json.loads(json.dumps(body))
    node = copy
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = HERE
    before, _, after = json.dumps(copy).encode().partition(json.dumps(HERE).encode())
    return before, after
