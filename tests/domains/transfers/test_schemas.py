"""The quick reading of the hot routes against the models: the same bodies, values and pointers."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from guilder.api.schema import RequestBody
from guilder.api.turns import Turn
from guilder.api.validation import read_body
from guilder.core.errors import Invalid
from guilder.domains.ledger.engine import run_sync
from guilder.domains.transfers import schemas
from guilder.domains.transfers.schemas import (
    BatchCreate,
    BatchShell,
    TransferCreate,
    read_batch,
    read_transfer,
)

A = "01999999-0000-7000-8000-00000000000a"
B = "01999999-0000-7000-8000-00000000000b"
SOUND: dict[str, Any] = {"from_account_id": A, "to_account_id": B, "amount": 100}
RICH: dict[str, Any] = SOUND | {
    "currency": "USD",
    "description": "Rent",
    "reference": "R-1",
    "metadata": {"order": "17"},
}
FIELDS = [*TransferCreate.model_fields, "idempotency_key"]

HOSTILE: list[Any] = [
    None, True, False, 0, 1, -1, 100, 2**53 - 1, 2**53, 2**63, -(2**63), 10**30, 0.0, 1.0, 1e3, 0.1,
    -0.0, 1e308, "", " ", "1", "100", "1e3", "1_000", "١٠٠", "NaN", "null", "true", "x" * 64,
    "x" * 65, "x" * 255, "x" * 256, "x" * 1021, "é" * 255, "e\u0301" * 255, "  padded  ", "a\tb",
    "a\nb", "a\x7fb", "a\u2028b", "a\u202eb", "\ufeffx", "𝔘𝔫𝔦", "USD", "usd", "EUR", "XXX", "US",
    "USDD", A, A.upper(), A.replace("-", ""), f"{{{A}}}", f"urn:uuid:{A}", A[:-1], A + "0",
    A[:-1] + "g", "123456789012", "12345678901", "1234567890123", "12345678901a", "١" * 12,
    " 123456789012", [], [1], ["USD"], [[]], {}, {"a": "b"}, {"a": 1}, {"a": None}, {"": "b"},
    {"a" * 41: "b"}, {"a": "b" * 501}, {str(n): "v" for n in range(20)},
    {str(n): "v" for n in range(21)}, {" a": "1", "a ": "2"}, {"a\n": "b"}, {"amount": 1},
]  # fmt: skip
DOCUMENTS: list[Any] = [
    None,
    True,
    1,
    1.5,
    "",
    "x",
    [],
    [SOUND],
    {},
    {"": 1},
    {"x" * 100: 1},
    {"a/b~c": 1},
]


def outcome(read: Callable[[], Any]) -> Any:
    """The values, or where and how the fields are broken."""
    try:
        return read()
    except Invalid as refusal:
        return [(error.where, error.code, error.message) for error in refusal.fields]


class Endless(Turn):
    """A turn that nobody else waits for."""

    over = False


def quick_batch(document: object) -> Any:
    """The quick reading of a batch, without a loop; it takes the transfers out of the document."""
    return run_sync(read_batch(document, Endless(asyncio.Lock())))


def by_model(model: type[RequestBody], document: object) -> Any:
    return outcome(lambda: read_body(model, document).model_dump())


def single(document: object) -> Any:
    """The quick reading; a key of its own is for items of a batch."""
    values = outcome(lambda: read_transfer(document))
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if name != "idempotency_key"}
    return values


def variants() -> list[Any]:
    """Sound bodies with every field missing or hostile, alone and two at a time."""
    found = [*DOCUMENTS, SOUND, RICH]
    for base in (SOUND, RICH):
        found += [{k: v for k, v in base.items() if k != name} for name in base]
        found += [base | {name: value} for name in [*FIELDS, "from", "id"] for value in HOSTILE]
    for first, second in pairwise(FIELDS):
        found += [SOUND | {first: value, second: value} for value in HOSTILE]
    found += [
        {"from_account_id": A, "to_account_number": number, "to_account_id": other, "amount": 1}
        for number in (None, "", "123456789012", 1)
        for other in (None, A, B.upper(), 1)
    ]
    return found


def test_the_quick_reading_of_a_transfer_is_the_models() -> None:
    documents = variants()
    assert len(documents) > 1_500
    refused = 0
    for document in documents:
        quick, model = single(document), by_model(TransferCreate, document)
        assert quick == model, document
        refused += isinstance(model, list)
    assert len(documents) // 3 < refused < len(documents)


def test_the_quick_reading_of_a_batch_is_the_models() -> None:
    items = variants()
    documents: list[Any] = [*DOCUMENTS, {"transfers": []}, {"transfers": [SOUND] * 2_001}]
    documents += [{"transfers": value} for value in HOSTILE]
    documents += [{"transfers": [SOUND], "atomic": value} for value in HOSTILE]
    documents += [{"transfers": [RICH, item, SOUND]} for item in items]
    documents += [{"transfers": [SOUND], "id": 1}, {"transfers": items[:200]}]
    for document in documents:
        quick = outcome(lambda document=document: quick_batch(document))  # type: ignore[misc]
        assert quick == by_model(BatchCreate, document), document


def test_a_broken_item_is_named_by_its_place() -> None:
    batch = {"transfers": [SOUND, SOUND | {"amount": 0, "note": 1}, SOUND | {"metadata": {"a": 1}}]}
    found = [(pointer, code) for pointer, code, _ in outcome(lambda: quick_batch(batch))]
    assert found == [
        ("/transfers/1/amount", "out_of_range"),
        ("/transfers/1/note", "unknown_field"),
        ("/transfers/2/metadata/a", "wrong_type"),
    ]


def test_a_batch_of_broken_items_is_refused_with_a_bounded_list() -> None:
    found = outcome(lambda: quick_batch({"transfers": [{"amount": -1}] * 2_000}))
    assert 10 <= len(found) <= 100


def test_after_enough_problems_nothing_more_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs about 10 µs; a batch could have as many as it may have members."""
    looked_at = []

    def counting(model: type[RequestBody], document: Any) -> RequestBody:
        looked_at.append(model)
        return read_body(model, document)

    monkeypatch.setattr(schemas, "read_body", counting)
    unknown = {str(number): 0 for number in range(60_000)}
    found = outcome(lambda: quick_batch({"transfers": [unknown, *[{"amount": -1}] * 1_999]}))
    assert len(found) == 100
    assert len(looked_at) == 2
    assert {code for _, code, _ in found} == {"required", "unknown_field"}


@pytest.mark.parametrize("values", [{}, {"currency": None, "metadata": None}])
def test_sound_bodies_do_not_need_the_model(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(model: type[RequestBody], document: object) -> RequestBody:
        assert model is BatchShell, "the quick reading fell back"
        return read_body(model, document)

    monkeypatch.setattr(schemas, "read_body", unwanted)
    for body in (SOUND, RICH, SOUND | {"to_account_id": None, "to_account_number": "123456789012"}):
        assert read_transfer(body | values)["amount"] == 100
        keyed = body | values | {"idempotency_key": "k"}
        assert quick_batch({"transfers": [keyed], "atomic": True})["atomic"] is True
