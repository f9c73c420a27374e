"""Which answers are compressed: lists and exports, and nothing that has a secret in it."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from guilder.api.compression import may_be_compressed
from guilder.infra.process.logging import is_secret
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.house.openapi_rules import followed, nodes, operations
from tests.support.declared import document

ALSO_SECRET = {"recovery_codes", "otpauth_uri", "qr_svg", "public_key"}


def marked(app: FastAPI) -> Iterator[str]:
    for context in iter_route_contexts(app.router.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            assert context.endpoint is not None
            if may_be_compressed(context.endpoint):
                yield from (f"{method} {context.path_format}" for method in context.methods or ())


def names_of(node: Any, found: dict[str, Any]) -> Iterator[str]:
    """Every field that a body may have, at any depth."""
    for _, inner in nodes(node):
        yield from inner.get("properties", {})
        if "$ref" in inner:
            yield from names_of(followed(found, inner), found)


def test_lists_are_compressed_and_what_has_a_secret_is_not() -> None:
    chosen = set(marked(create_app(Settings.model_validate({"env": "test"}))))
    secret, pages = set(), set()
    for name, operation in operations(document()):
        answers = [
            body["content"]
            for status, body in operation["responses"].items()
            if status < "300" and "content" in body
        ]
        fields = set(names_of(answers, document()))
        if not name.startswith("GET ") or any(map(is_secret, fields)) or fields & ALSO_SECRET:
            secret.add(name)
        if {"items", "next_cursor"} <= fields:
            pages.add(name)
    assert pages <= chosen
    assert chosen & secret == set()
    assert chosen - pages == {"GET /metrics", "GET /api/v1/accounts/{account_id}/statement"}
    assert "POST /api/v1/sessions" in secret
    assert "POST /api/v1/users/me/totp" in secret
