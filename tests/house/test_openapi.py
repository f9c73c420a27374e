"""The reference is fit for those who make clients of it; each rule finds what is planted."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from guilder.api.examples import NoExample, example_of
from guilder.api.openapi import REF_TEMPLATE
from guilder.api.schema import RequestBody
from guilder.main import create_app
from tests.house import openapi_rules as rules
from tests.support.declared import document

type Document = dict[str, Any]

TRANSFERS = "/api/v1/transfers"
TAGS = ["identity", "accounts", "transfers", "simulations", "admin", "system"]


@pytest.mark.parametrize("rule", rules.RULES)
def test_the_reference_keeps_the_rule(rule: rules.Rule) -> None:
    assert list(rule(document())) == []


def schema(found: Document, name: str) -> Document:
    properties: Document = found["components"]["schemas"][name]["properties"]
    return properties


def post(found: Document) -> Document:
    operation: Document = found["paths"][TRANSFERS]["post"]
    return operation


PLANTED: list[tuple[rules.Rule, Callable[[Document], Any]]] = [
    (rules.unbounded_integers, lambda d: schema(d, "TransferOut")["amount"].pop("format")),
    (rules.unbounded_integers, lambda d: schema(d, "LineOut")["amount"].pop("maximum")),
    (
        rules.nulls_in_parameters,
        lambda d: post(d)["parameters"][0].update(schema={"anyOf": [{"type": "null"}]}),
    ),
    (rules.undescribed, lambda d: schema(d, "AccountOut")["version"].pop("description")),
    (rules.undescribed, lambda d: post(d)["parameters"][0].pop("description")),
    (
        rules.closed_answers,
        lambda d: d["components"]["schemas"]["TransferOut"].update(additionalProperties=False),
    ),
    (rules.closed_answers, lambda d: schema(d, "AccountOut")["status"].update(const="active")),
    (
        rules.closed_answers,
        lambda d: d["components"]["schemas"]["AccountStatus"].update(enum=["active"]),
    ),
    (rules.odd_operation_ids, lambda d: post(d).update(operationId="create_transfer")),
    (rules.odd_operation_ids, lambda d: post(d).update(operationId="listTransfers")),
    (rules.odd_operation_ids, lambda d: post(d).update(operationId="createBatch")),
    (
        rules.missing_examples,
        lambda d: post(d)["requestBody"]["content"]["application/json"].pop("example"),
    ),
    (
        rules.missing_examples,
        lambda d: post(d)["responses"]["201"]["content"]["application/json"]["example"].update(
            new=1
        ),
    ),
    (rules.codes_without_example, lambda d: post(d)["x-codes"].append("planted")),
    (
        rules.codes_without_example,
        lambda d: d["components"]["examples"]["account_closed"]["value"].update(status=400),
    ),
    (rules.created_nowhere, lambda d: post(d)["responses"]["201"]["headers"].pop("Location")),
    (rules.loose_ends, lambda d: d["tags"].pop()),
    (rules.loose_ends, lambda d: d["tags"].append({"name": "planted", "description": "?"})),
    (rules.loose_ends, lambda d: post(d).pop("security")),
    (rules.loose_ends, lambda d: d.pop("servers")),
]


@pytest.mark.parametrize(("rule", "plant"), PLANTED)
def test_a_planted_fault_of_the_reference_is_found(
    rule: rules.Rule, plant: Callable[[Document], Any]
) -> None:
    found = json.loads(json.dumps(document()))
    plant(found)
    assert list(rule(found)) != []


def test_tags_stand_in_the_order_of_a_reader() -> None:
    assert [tag["name"] for tag in document()["tags"]] == TAGS


def models(kind: type[BaseModel]) -> list[type[BaseModel]]:
    """Every model below a base that is the bank's own."""
    found = [inner for sub in kind.__subclasses__() for inner in (sub, *models(sub))]
    return [one for one in found if one.__module__.startswith("guilder.")]


def test_every_example_of_a_body_is_taken_by_its_model() -> None:
    create_app()
    found = models(RequestBody)
    assert len(found) > 15
    for model in found:
        if model.__name__ in ("Credential", "BatchShell"):  # what others have in common
            continue
        shown = model.model_json_schema(ref_template=REF_TEMPLATE)
        model.model_validate(example_of(shown, shown.get("$defs", {})))


def test_a_text_without_an_example_is_told() -> None:
    with pytest.raises(NoExample):
        example_of({"type": "string", "maxLength": 5}, {})


def test_money_is_of_64_bits_and_one_component_names_the_currencies() -> None:
    """Generated clients in Java, Go and C# hold an integer without a format in 32 bits."""
    for name, field in (("TransferOut", "amount"), ("AccountOut", "balance")):
        assert schema(document(), name)[field]["format"] == "int64"
        assert schema(document(), name)["currency"]["$ref"].endswith("/Currency")
    assert json.dumps(document()).count('"USD"') == 1
