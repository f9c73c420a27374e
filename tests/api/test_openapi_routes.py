"""The OpenAPI document: stable, complete about refusals, and the same for lean routes."""

import json
from typing import Any

import jsonschema_rs
import pytest

from tests.api.plumbing import client_of, make_app, move


@pytest.fixture
def document() -> dict[str, Any]:
    return make_app().openapi()


def test_document_is_the_same_each_time() -> None:
    assert json.dumps(make_app().openapi()) == json.dumps(make_app().openapi())
    app = make_app()
    assert app.openapi() is app.openapi()


async def test_document_is_served(document: dict[str, Any]) -> None:
    async with client_of(make_app()) as client:
        served = await client.get("/openapi.json")
        assert served.json() == document
        assert document["openapi"].startswith("3.1")


def test_lean_route_is_declared_like_any_other(document: dict[str, Any]) -> None:
    lean = document["paths"]["/api/v1/moves"]["post"]
    cold = document["paths"]["/api/v1/moves/cold"]["post"]
    assert lean["requestBody"] == cold["requestBody"]
    assert lean["responses"]["201"] == cold["responses"]["201"]
    assert lean["parameters"] == cold["parameters"]
    names = [each.get("name", each.get("$ref")) for each in lean["parameters"]]
    assert names == ["dry_run", "Idempotency-Key", "#/components/parameters/RequestId"]


def test_the_text_on_idempotency_says_that_a_refusal_is_not_kept(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/api/v1/moves"]["post"]["parameters"]
    (header,) = [one for one in parameters if one.get("name") == "Idempotency-Key"]
    assert "A refusal is not kept" in header["description"]


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        (
            "/api/v1/moves",
            "post",
            "201 400 401 408 409 413 415 422 429 500 503",
        ),
        ("/api/v1/moves", "get", "200 400 401 422 429 500 503"),
        ("/api/v1/moves/{move_id}", "get", "200 400 401 404 429 500 503"),
        ("/odd/text", "get", "200 400 422 429 500 503"),
        ("/odd/own-reading", "post", "200 400 408 413 415 422 429 500 503"),
        ("/odd/fault", "get", "200 400 429 500 503"),
    ],
)
def test_operation_names_its_refusals(
    document: dict[str, Any], path: str, method: str, statuses: str
) -> None:
    operation = document["paths"][path][method]
    assert list(operation["responses"]) == statuses.split()
    assert bool(operation["security"]) == ("401" in operation["responses"])
    assert "HTTPValidationError" not in json.dumps(document)


def test_refusals_of_a_route_are_described(document: dict[str, Any]) -> None:
    responses = document["paths"]["/api/v1/moves"]["post"]["responses"]
    described = "`frozen`: It is frozen.\n\nAlso `idempotency_in_progress`."
    assert responses["409"]["description"] == described
    assert "`overloaded`" in responses["503"]["description"]
    assert "Retry-After" in responses["503"]["headers"]
    for status in ("409", "503"):
        [media_type] = responses[status]["content"]
        assert media_type == "application/problem+json"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        here = [node["$ref"]] if isinstance(node, dict) and "$ref" in node else []
        inner = node.values() if isinstance(node, dict) else node
        if isinstance(node, dict | list):
            here += [ref for value in inner for ref in references(value)]
        return here

    found = references(document)
    assert found
    for reference in found:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


async def test_answers_fit_the_document(document: dict[str, Any]) -> None:
    async with client_of(make_app()) as client:
        for path in ("/nowhere", "/odd/raised/limit", "/odd/raised/field", "/odd/fault"):
            _fits(document, "Problem", (await client.get(path)).json())
        created = await client.post("/api/v1/moves/cold", json=move())
        _fits(document, "MoveOut", created.json())
        assert jsonschema_rs.is_valid(_schema(document, "MoveCreate"), move())
        for wrong in ({"amount": 0}, {"amount": "1"}, {"x": 1}, {"currency": "usd"}):
            assert not jsonschema_rs.is_valid(_schema(document, "MoveCreate"), move(**wrong))


def _schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def _fits(document: dict[str, Any], name: str, body: Any) -> None:
    jsonschema_rs.validate(_schema(document, name), body)
