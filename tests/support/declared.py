"""What the reference declares, held against every answer that a test gets."""

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from guilder.api.field_codes import FIELD_CODES
from guilder.api.openapi import CODES
from guilder.api.problems import PROBLEM_JSON
from tests.house.source import ROOT

UNMATCHED = {"not_found", "method_not_allowed"}
"""Codes of what is no operation at all."""


@cache
def document() -> dict[str, Any]:
    """The committed reference; a house test sees to it that it is what the application says."""
    found: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))
    return found


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Each path as a pattern, the most literal first."""
    paths = sorted(document()["paths"], key=lambda path: (path.count("{"), path))
    return [(re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(path))), path) for path in paths]


def operation_of(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The path and operation of the reference that a request is for, None when there is none."""
    found = path.rstrip("/") or "/"
    for pattern, template in _patterns():
        if pattern.fullmatch(found):
            asked = "get" if method == "HEAD" else method.lower()
            operation = document()["paths"][template].get(asked)
            return None if operation is None else (template, operation)
    return None


def closed(components: dict[str, Any]) -> dict[str, Any]:
    """The components with no object open to fields that it does not name, but for problems.

    Clients must bear fields that they do not know; what the bank answers today has none.
    """
    schemas = {
        name: schema if name == "Problem" else closed_schema(schema)
        for name, schema in components["schemas"].items()
    }
    return components | {"schemas": schemas}


def closed_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, closed to fields that it does not name if it is an object's."""
    return {"additionalProperties": False, **schema} if "properties" in schema else schema


@cache
def _checker(path: str, method: str, status: str) -> Any:
    """What a body of an answer must be like; None where the reference shows none."""
    answer = document()["paths"][path][method]["responses"][status]
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return None
    return jsonschema_rs.validator_for({**schema, "components": closed(document()["components"])})


def undeclared(method: str, path: str, status: int, media_type: str, body: bytes) -> str | None:
    """What of an answer the reference does not declare; None when all is as it says."""
    found = operation_of(method, path)
    if found is None:
        return None
    template, operation = found
    name = f"{method} {template}"
    if media_type == PROBLEM_JSON:
        problem = json.loads(body) if body else {}
        if problem and problem["code"] not in operation[CODES]:
            return f"{name} does not declare `{problem['code']}`"
        unknown = {one["code"] for one in problem.get("errors", ())} - FIELD_CODES.keys()
        return f"{name} names fields with {unknown}, which is in no list" if unknown else None
    if str(status) not in operation["responses"]:
        return f"{name} does not declare the status {status}"
    if media_type != "application/json" or not body:
        return None
    checker = _checker(template, "get" if method == "HEAD" else method.lower(), str(status))
    error = None if checker is None else next(checker.iter_errors(json.loads(body)), None)
    return None if error is None else f"{name} answers {status} otherwise: {error.message}"


def missing_headers(method: str, path: str, status: int, names: Iterable[str]) -> list[str]:
    """The headers that an answer lacks though the reference says that it always has them."""
    found = operation_of(method, path)
    if found is None:
        return []
    declared = found[1]["responses"].get(str(status), {}).get("headers", {})
    components = document()["components"]["headers"]
    required = {
        name.lower()
        for name, header in declared.items()
        if components.get(header.get("$ref", "").rpartition("/")[2], header).get("required")
    }
    return sorted(required.difference(names))


async def check_declared(response: httpx.Response) -> None:
    """A hook of ``httpx`` clients: an answer that the reference does not declare fails the test."""
    body = await response.aread()
    media_type = response.headers.get("content-type", "").partition(";")[0]
    request = response.request
    problem = undeclared(request.method, request.url.path, response.status_code, media_type, body)
    assert problem is None, problem
    names = response.headers.keys()
    missing = missing_headers(request.method, request.url.path, response.status_code, names)
    assert missing == [], f"{request.method} {request.url.path} answers without {missing}"
