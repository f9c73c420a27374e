"""What the reference must be like for those who make clients of it, rule by rule."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs

from guilder.api.openapi import CODES
from guilder.api.problems import PROBLEM_JSON
from tests.support.declared import closed

type Document = dict[str, Any]
type Rule = Callable[[Document], Iterator[str]]

VERBS = {
    "get": ("get", "list"), "post": ("create",), "put": ("set",), "patch": ("update",),
    "delete": ("delete",),
}  # fmt: skip
LOGIN_PAIR = {"signUp", "logIn"}
SCHEMAS = "#/components/schemas/"


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Every operation with its name."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def nodes(node: Any, place: str = "") -> Iterator[tuple[str, Document]]:
    """Every object of the document with its place; what examples hold is none of it."""
    if isinstance(node, dict):
        yield place, node
        for name, inner in node.items():
            if name not in ("example", "examples"):
                yield from nodes(inner, f"{place}/{name}")
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from nodes(inner, f"{place}/{number}")


def followed(document: Document, node: Document) -> Document:
    """The node, or what it refers to."""
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def written(document: Document) -> dict[str, Document]:
    """The schemas that answers are made of, by name."""
    waiting: list[Any] = [operation["responses"] for _, operation in operations(document)]
    found: dict[str, Document] = {}
    while waiting:
        for _, node in nodes(waiting.pop()):
            reference = str(node.get("$ref", ""))
            if reference.startswith(SCHEMAS) and reference.removeprefix(SCHEMAS) not in found:
                schema = followed(document, node)
                found[reference.removeprefix(SCHEMAS)] = schema
                waiting.append(schema)
    return found


def unbounded_integers(document: Document) -> Iterator[str]:
    """An integer without a format is of 32 bits in many languages."""
    for place, node in nodes(document):
        if node.get("type") == "integer" and not (
            node.get("format") == "int64" and {"minimum", "maximum"} <= node.keys()
        ):
            yield place


def nulls_in_parameters(document: Document) -> Iterator[str]:
    """A query and a header know no null."""
    for name, operation in operations(document):
        for place, node in nodes([followed(document, one) for one in operation["parameters"]]):
            if node.get("type") == "null" or node.get("default", ...) is None:
                yield f"{name} {place}"


def undescribed(document: Document) -> Iterator[str]:
    """Properties, parameters, operations and schemas without a word."""
    for name, schema in document["components"]["schemas"].items():
        if not schema.get("description"):
            yield name
        for field, inner in schema.get("properties", {}).items():
            if not (inner.get("description") or followed(document, inner).get("description")):
                yield f"{name}.{field}"
    for name, operation in operations(document):
        if not (operation.get("summary") and operation.get("description")):
            yield name
        for parameter in operation["parameters"]:
            found = followed(document, parameter)
            if not found.get("description"):
                yield f"{name} {found['name']}"


def closed_answers(document: Document) -> Iterator[str]:
    """An answer may gain fields, and a state may gain values, without breaking a client."""
    for name, schema in written(document).items():
        for place, node in nodes(schema):
            if node.get("additionalProperties") is False:
                yield f"{name}{place} is closed"
            if "const" in node or len(node.get("enum", "ab")) == 1:
                yield f"{name}{place} is pinned to one value"


def odd_operation_ids(document: Document) -> Iterator[str]:
    """``createTransfer``, ``listAccounts``: a verb by the method, short, and once."""
    seen = set()
    for name, operation in operations(document):
        found, method = operation["operationId"], name.partition(" ")[0].lower()
        words = re.fullmatch(r"([a-z]+)([A-Z][a-z]+)+", found)
        sound = words is not None and words[1] in VERBS[method] and len(found) <= 32
        if found in seen or not (sound or found in LOGIN_PAIR):
            yield f"{name} {found}"
        seen.add(found)


def missing_examples(document: Document) -> Iterator[str]:
    """Every body that is asked for or answered has an example, which fits its schema."""
    for name, operation in operations(document):
        bodies = {"body": operation.get("requestBody", {})} | {
            status: followed(document, one) for status, one in operation["responses"].items()
        }
        for place, body in bodies.items():
            for kind, content in body.get("content", {}).items():
                if kind != PROBLEM_JSON:
                    yield from _misfit(document, f"{name} {place} {kind}", content)


def _misfit(document: Document, name: str, content: Document) -> Iterator[str]:
    if "example" not in content:
        yield f"{name} has no example"
        return
    schema = {**content["schema"], "components": closed(document["components"])}
    for error in jsonschema_rs.validator_for(schema).iter_errors(content["example"]):
        yield f"{name}: {error.message}"


def codes_without_example(document: Document) -> Iterator[str]:
    """Every code of an operation is shown, by a problem that is one."""
    problem = {"$ref": f"{SCHEMAS}Problem", "components": document["components"]}
    for name, operation in operations(document):
        shown = set()
        for status, answer in operation["responses"].items():
            content = followed(document, answer).get("content", {}).get(PROBLEM_JSON, {})
            for code, example in content.get("examples", {}).items():
                value = followed(document, example)["value"]
                sound = jsonschema_rs.is_valid(problem, value)
                if not sound or (value["code"], str(value["status"])) != (code, status):
                    yield f"{name} {status} {code} is no such problem"
                shown.add(code)
        yield from (f"{name} {code}" for code in operation[CODES] if code not in shown)


def loose_ends(document: Document) -> Iterator[str]:
    """Every operation says who may use it and has a tag, every tag is described; servers."""
    tags = {tag["name"]: tag.get("description") for tag in document.get("tags", ())}
    used = {tag for _, operation in operations(document) for tag in operation.get("tags", ("",))}
    yield from (f"the tag {tag!r} is not described" for tag in sorted(used) if not tags.get(tag))
    yield from (f"the tag {tag!r} is not used" for tag in tags if tag not in used)
    for name, operation in operations(document):
        if "security" not in operation:
            yield f"{name} does not say who may"
    if not document.get("servers"):
        yield "there is no server"


def created_nowhere(document: Document) -> Iterator[str]:
    """Whoever makes something is told where it is."""
    for name, operation in operations(document):
        made = operation["responses"].get("201")
        if made is not None:
            location = followed(document, made.get("headers", {}).get("Location", {}))
            if not location.get("required"):
                yield f"{name} answers 201 without a Location"


RULES: tuple[Rule, ...] = (
    unbounded_integers, nulls_in_parameters, undescribed, closed_answers, odd_operation_ids,
    missing_examples, codes_without_example, loose_ends,
    created_nowhere,
)  # fmt: skip
