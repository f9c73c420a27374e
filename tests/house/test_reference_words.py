"""What the reference says in words is what the bank does."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from guilder.api.errors import UnsupportedMediaType
from guilder.api.field_codes import FIELD_CODES
from guilder.api.idempotency import DOCUMENTED
from guilder.api.openapi import OPEN_ENUM
from guilder.api.problems import PROBLEM_JSON
from guilder.domains.accounts.queries import MAX_STATEMENT_LINES
from guilder.infra.process.settings import Settings
from tests.house.openapi_rules import followed, nodes, operations
from tests.house.source import ROOT
from tests.support.declared import document
from tools.reference import UNGIVEN, errors_page, refusals

TRANSFER = "/api/v1/transfers"


def schemas() -> dict[str, Any]:
    found: dict[str, Any] = document()["components"]["schemas"]
    return found


def words(name: str, field: str) -> str:
    text: str = schemas()[name]["properties"][field]["description"]
    return text


def operation(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method]
    return found


def test_the_room_for_opaque_texts_is_the_promised_one() -> None:
    """A client that validates by the reference takes the longer cursors that may come."""
    promise = (ROOT / "docs/reference/compatibility.md").read_text(encoding="utf-8")
    [room] = re.findall(r"Longer cursors and tokens.*keep room for ([0-9,]+)\.", promise)
    opaque = {
        f"{place}/{name}": inner
        for place, node in nodes(document())
        for name, inner in node.get("properties", {}).items()
        if name == "token" or name.endswith("_token")
    }
    opaque |= {
        f"{name} {one['name']}": one["schema"]
        for name, found in operations(document())
        for one in found["parameters"]
        if one.get("name") == "cursor"
    }
    assert len(opaque) > 12
    bounds = {
        place: bound
        for place, schema in opaque.items()
        for one in (schema, *schema.get("anyOf", ()))
        if (bound := one.get("maxLength")) is not None
    }
    assert len(bounds) > 8
    assert {
        place for place, bound in bounds.items() if bound != int(room.replace(",", ""))
    } == set()


def test_a_way_to_sign_in_leads_to_an_operation_of_the_reference() -> None:
    schemes = document()["components"]["securitySchemes"]
    flow = schemes["OAuth2Password"]["flows"]["password"]
    assert {flow["tokenUrl"], flow["refreshUrl"]} <= document()["paths"].keys()
    assert "API key" not in json.dumps(schemes), "there are none"


def test_another_media_type_is_refused_with_those_that_the_operation_reads() -> None:
    for name, found in operations(document()):
        if (body := found.get("requestBody")) is None:
            continue
        answer = followed(document(), found["responses"]["415"])
        shown = answer["content"][PROBLEM_JSON]["examples"][UnsupportedMediaType.code]
        detail = followed(document(), shown)["value"]["detail"]
        assert detail == UnsupportedMediaType.expecting(*body["content"]).detail, name


def test_only_an_operation_that_takes_a_grant_tells_of_one() -> None:
    for name, found in operations(document()):
        texts = json.dumps(found["responses"])
        takes = any(
            "grant_type" in followed(document(), one["schema"])["properties"]
            for one in found.get("requestBody", {}).get("content", {}).values()
        )
        assert ("With a `grant_type`" in texts) == takes, name
    revoked = operation("post", "/api/v1/auth/revoke")
    assert "422" not in revoked["responses"]
    assert "`validation_failed`" in revoked["responses"]["400"]["description"]


def test_what_a_batch_of_which_nothing_is_posted_answers_is_told() -> None:
    made = operation("post", f"{TRANSFER}/batches")["responses"]["201"]["description"]
    assert "nothing was posted" in made
    assert "no operation reads" in words("BatchOut", "id")


def test_a_dry_run_is_told_from_what_was_posted() -> None:
    for name in ("TransferOut", "BatchOut"):
        assert "unless its key was used before" in words(name, "id")
    for field in ("status", "created_at", "booked_at"):
        assert "dry run" in words("TransferOut", field)


def test_the_length_of_a_statement_and_where_the_rest_is_are_told() -> None:
    assert f"{MAX_STATEMENT_LINES:,}" in words("StatementOut", "transactions")
    [path] = re.findall(r"`GET (\S+)`", words("StatementOut", "transactions_truncated"))
    listed = operation("get", f"/api/v1{path}")
    assert {"from", "to"} <= {one.get("name") for one in listed["parameters"]}


def test_ranges_say_what_they_take_and_what_an_inverted_one_finds() -> None:
    ranged = [
        found for _, found in operations(document())
        if {"from", "to"} <= {one.get("name") for one in found["parameters"]}
    ]  # fmt: skip
    assert len(ranged) == 2
    for found in ranged:
        assert "ends before it starts" in found["description"]
        for one in found["parameters"]:
            if one.get("name") in ("from", "to"):
                assert "`Z` or an offset" in one["description"]
                assert "a date" in one["description"]


def field_codes(tree: ast.Module) -> Iterator[str]:
    """The codes that a file gives to fields, wherever they stand as they are."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="InvalidValue"), args=[ast.Constant(value=str(code)), *_]
            ):
                yield code
            case ast.Call(
                func=ast.Name(id="FieldError" | "_weak"),
                args=[_, ast.Constant(value=str(code)), *_],
            ):
                yield code
            case ast.Tuple(
                elts=[ast.Constant(value=str(code)), ast.Constant() | ast.JoinedStr() as message]
            ):
                last = message.values[-1] if isinstance(message, ast.JoinedStr) else message
                if isinstance(last, ast.Constant) and str(last.value).endswith("."):
                    yield code


def test_every_code_of_a_field_is_listed_and_given() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "guilder").rglob("*.py")]
    given = {
        code for text in texts
        if "InvalidValue" in text or "FieldError" in text
        for code in field_codes(ast.parse(text))
    }  # fmt: skip
    assert len(given) > 25
    assert given - FIELD_CODES.keys() == set()
    assert FIELD_CODES.keys() - given <= {kind.code for kind in refusals()}
    page = errors_page()
    assert all(f"| `{code}` | " in page for code in FIELD_CODES)


def test_a_code_that_no_operation_gives_is_marked() -> None:
    given = {code for _, found in operations(document()) for code in found["x-codes"]}
    given |= {"method_not_allowed", *schemas()["BatchResultOut"]["properties"]["code"][OPEN_ENUM]}
    rows = [line for line in errors_page().splitlines() if line.count("|") == 4]
    marked = {line.split("`")[1] for line in rows if UNGIVEN in line}
    assert marked == {kind.code for kind in refusals()} - given
    assert "| `refresh_invalid` | 401, 400 |" in errors_page()


def test_a_description_that_names_codes_names_all_of_its_status() -> None:
    for name, found in operations(document()):
        for status, answer in found["responses"].items():
            if "`: " in answer.get("description", ""):
                codes = answer["content"][PROBLEM_JSON]["examples"]
                missing = {code for code in codes if f"`{code}`" not in answer["description"]}
                assert missing == set(), f"{name} {status}"


def test_the_time_that_a_key_is_kept_is_the_settings() -> None:
    days = Settings.model_fields["keys_kept_days"].default
    assert f"{days} days" in DOCUMENTED
    assert "for ever" in DOCUMENTED
