import asyncio
import json
from typing import Any

import pytest

from guilder.core.permissions import Role
from guilder.domains.transfers.schemas import TransferOut
from tests.support.teller import (
    NOBODYS,
    Body,
    Customer,
    Desk,
    answered,
    asked,
    conforms,
    pointers,
    refused,
)

AMOUNTS: list[tuple[str, str]] = [
    ("-1", "out_of_range"),
    ("0", "out_of_range"),
    ("-0", "out_of_range"),
    ("9007199254740992", "out_of_range"),
    ("9223372036854775808", "out_of_range"),
    ("100000000000000000000000000", "out_of_range"),
    ("1.0", "wrong_type"),
    ("0.1", "wrong_type"),
    ("1e3", "wrong_type"),
    ('"100"', "wrong_type"),
    ('"1_000"', "wrong_type"),
    ("true", "wrong_type"),
    ("[1]", "wrong_type"),
    ('{"minor":1}', "wrong_type"),
]
UNREADABLE: list[tuple[str, int, str]] = [
    ("", 400, "malformed_json"),
    ("{", 400, "malformed_json"),
    ("amount=1", 400, "malformed_json"),
    ('{"amount": 1,}', 400, "malformed_json"),
    ('{"amount": NaN}', 400, "malformed_json"),
    ('{"amount": Infinity}', 400, "malformed_json"),
    ('{"amount": -Infinity}', 400, "malformed_json"),
    ('{"amount": 1e400}', 400, "number_out_of_range"),
    ('{"amount": 1, "amount": 2}', 400, "duplicate_key"),
    ('{"description": "\\ud800"}', 400, "invalid_text"),
    ('{"description": "a\\u0000b"}', 400, "invalid_text"),
    ("[" * 40 + "]" * 40, 400, "json_too_deep"),
    ('{"description": "' + "x" * 1_000_001 + '"}', 413, "body_too_large"),
    ("[]", 422, "validation_failed"),
    ("null", 422, "validation_failed"),
    ('"transfer"', 422, "validation_failed"),
]


@pytest.fixture
async def payer(desk: Desk) -> Customer:
    return await desk.sign_up()


async def test_an_amount_that_is_none_moves_nothing(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    before = await desk.books()
    for literal, code in AMOUNTS:
        body = json.dumps(asked(a, b, "AMOUNT")).replace('"AMOUNT"', literal)
        problem = refused(await posted(payer, body), 422, "validation_failed")
        assert pointers(problem) == [("/amount", code)], literal
    missing = asked(a, b, ...)
    problem = refused(await payer.post("/transfers", missing), 422, "validation_failed")
    assert pointers(problem) == [("/amount", "required")]
    assert await desk.books() == before


async def test_a_body_that_cannot_be_read_moves_nothing(desk: Desk, payer: Customer) -> None:
    await payer.open(funds=1_000)
    before = await desk.books()
    for path in ("/transfers", "/transfers/batches"):
        for body, status, code in UNREADABLE:
            if status == 413 and "batches" in path:
                continue  # a batch may be longer
            refused(await posted(payer, body, path), status, code)
    form = await payer.client.post("/transfers", data={"amount": "1"})
    refused(form, 415, "unsupported_media_type")
    assert await desk.books() == before


async def test_fields_that_break_their_rules_move_nothing(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    before = await desk.books()
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"from_account_id": "x"}, "/from_account_id", "invalid_uuid"),
        ({"to_account_id": 7}, "/to_account_id", "invalid_uuid"),
        ({"to_account_id": ...}, "/to_account_id", "required"),
        ({"to_account_number": b["account_number"]}, "/to_account_id", "required"),
        ({"to_account_id": ..., "to_account_number": "12"}, "/to_account_number",
         "invalid_account_number"),
        ({"currency": "XYZ"}, "/currency", "unknown_currency"),
        ({"description": "x" * 256}, "/description", "too_long"),
        ({"description": "a\nb"}, "/description", "control_character"),
        ({"reference": "x" * 65}, "/reference", "too_long"),
        ({"metadata": {"a": 1}}, "/metadata/a", "wrong_type"),
        ({"metadata": {"x" * 41: "a"}}, f"/metadata/{'x' * 41}", "too_long"),
        ({"memo": "x"}, "/memo", "unknown_field"),
        ({"check_duplicates": True}, "/check_duplicates", "unknown_field"),
        ({"value_on": "2026-01-01"}, "/value_on", "unknown_field"),
    ]  # fmt: skip
    for change, pointer, code in cases:
        response = await payer.post("/transfers", asked(a, b, 100, **change))
        problem = refused(response, 422, "validation_failed")
        assert pointers(problem) == [(pointer, code)], change
        assert "XYZ" not in response.text  # what was sent is not repeated
    assert await desk.books() == before


async def test_what_the_books_do_not_allow_moves_nothing(desk: Desk, payer: Customer) -> None:
    stranger = await desk.sign_up()
    a, b = await payer.open(funds=1_000), await payer.open()
    euro, theirs = await payer.open("EUR"), await stranger.open(funds=1_000)
    nobodys = {"id": NOBODYS}
    by_number = {"to_account_id": ...}
    wrong = b["account_number"][:-1] + str((int(b["account_number"][-1]) + 1) % 10)
    settlement = {"id": (await payer.deposit(b, 1))["from_account_id"]}
    before = await desk.books()
    cases: list[tuple[Body, int, str]] = [
        (asked(a, a, 1), 422, "same_account"),
        (asked(nobodys, nobodys, 1), 422, "same_account"),
        (asked(theirs, theirs, 1), 422, "same_account"),
        (asked(a, a, 1, to_account_number=a["account_number"], **by_number), 422, "same_account"),
        (asked(nobodys, b, 1), 404, "account_not_found"),
        (asked(theirs, b, 1), 404, "account_not_found"),
        (asked(theirs, b, 10_000), 404, "account_not_found"),
        (asked(a, nobodys, 1), 404, "account_not_found"),
        (asked(a, settlement, 1), 404, "account_not_found"),
        (asked(settlement, a, 1), 404, "account_not_found"),
        (asked(a, b, 1, to_account_number=wrong, **by_number), 404, "account_not_found"),
        (asked(a, b, 1, to_account_number="000000000000", **by_number), 404, "account_not_found"),
        (asked(a, euro, 1), 422, "currency_mismatch"),
        (asked(a, b, 1, currency="EUR"), 422, "currency_mismatch"),
        (asked(a, euro, 1, currency="EUR"), 422, "currency_mismatch"),
        (asked(a, b, 1_001), 400, "insufficient_funds"),
        (asked(a, b, 2**53 - 1), 400, "insufficient_funds"),
        (asked(a, b, 1_001, currency="USD"), 400, "insufficient_funds"),
    ]
    for body, status, code in cases:
        for query in ({}, {"dry_run": "true"}):
            response = await payer.post("/transfers", body, **query)
            refused(response, status, code)
    assert await desk.books() == before


async def test_dollars_do_not_pay_euros(desk: Desk, payer: Customer) -> None:
    """One unit of one currency was once booked as one unit of another."""
    stranger = await desk.sign_up()
    dollars, euros = await payer.open("USD", funds=1_000), await stranger.open("EUR", funds=5)
    for more in ({}, {"currency": "USD"}, {"currency": "EUR"}):
        response = await payer.post("/transfers", asked(dollars, euros, 1, **more))
        refused(response, 422, "currency_mismatch")
    assert await stranger.balance(euros) == 5
    await desk.books()


async def test_queries_and_headers_that_are_none_of_ours_are_refused(
    desk: Desk, payer: Customer
) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    body = asked(a, b, 1)
    before = await desk.books()
    refused(await payer.post("/transfers", body, dryrun="true"), 400, "unknown_parameter")
    for value in ("1", "yes", "True", ""):
        problem = refused(
            await payer.post("/transfers", body, dry_run=value), 422, "validation_failed"
        )
        assert pointers(problem) == [("dry_run", "wrong_type")]
    for key in ("", "x" * 256, "tab\there"):
        response = await payer.post("/transfers", body, key=key)
        assert pointers(refused(response, 422, "validation_failed"))[0][1] == "invalid_key"
    assert await desk.books() == before


async def test_who_may_only_read_or_has_no_token_moves_nothing(desk: Desk) -> None:
    reader = await desk.sign_up(Role.READONLY)
    body = {"from_account_id": NOBODYS, "to_account_id": NOBODYS, "amount": 1}
    async with desk.client() as nobody:
        for path, sent in (("/transfers", body), ("/transfers/batches", {"transfers": [body]})):
            refused(await nobody.post(path, json=sent), 401, "unauthenticated")
            refused(await nobody.post(path, content="{"), 401, "unauthenticated")
            refused(await reader.post(path, sent), 403, "forbidden")


async def test_a_transfer_is_answered_as_the_contract_says(desk: Desk, payer: Customer) -> None:
    payee = await desk.sign_up()
    a, b = await payer.open(funds=1_000), await payee.open()
    words = {"description": "  Rent ", "reference": "R\u0301", "metadata": {"b": "2", "a": "1"}}
    body = asked(a, b, 400, currency="USD", **words)
    made = answered(await payer.post("/transfers", body, key="rent"), 201)
    conforms(TransferOut, made)
    assert (made["from_account_id"], made["to_account_id"]) == (a["id"], b["id"])
    assert (made["status"], made["amount"], made["currency"]) == ("posted", 400, "USD")
    assert (made["exponent"], made["balance_after"]) == (2, 600)
    assert (made["description"], made["reference"]) == ("Rent", "Ŕ")
    assert made["metadata"] == {"a": "1", "b": "2"}
    assert made["created_at"] == made["booked_at"]
    assert made["value_on"] == made["booked_at"][:10]
    assert await payer.read(f"/transfers/{made['id']}") == made
    by_number = asked(a, b, 1, to_account_id=..., to_account_number=b["account_number"])
    plain = answered(await payer.post("/transfers", by_number), 201)
    conforms(TransferOut, plain)
    assert (plain["to_account_id"], plain["balance_after"]) == (b["id"], 599)
    assert (plain["description"], plain["reference"], plain["metadata"]) == (None, None, {})
    capitals = {"from_account_id": a["id"].upper(), "to_account_id": b["id"].upper(), "amount": 1}
    assert answered(await payer.post("/transfers", capitals), 201)["from_account_id"] == a["id"]
    assert await payee.balance(b) == 402
    await desk.books()


async def test_a_key_gives_the_first_answer_again(desk: Desk, payer: Customer) -> None:
    stranger = await desk.sign_up()
    a, b = await payer.open(funds=1_000), await payer.open()
    body = asked(a, b, 100, description="Rent", metadata={"x": "1", "a": "2"})
    first = await payer.post("/transfers", body, key="key one")
    await payer.pay(a, b, 50)  # the balance moves on, the answer must not
    same = [
        body,
        body | {"currency": "USD", "description": " Rent "},
        body | {"metadata": {"a": "2", "x": "1"}, "reference": None},
        asked(a, b, 100, description="Rent", metadata={"x": "1", "a": "2"}, to_account_id=...,
              to_account_number=b["account_number"]),
    ]  # fmt: skip
    for repeated in same:
        again = await payer.post("/transfers", repeated, key="key one")
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    changes: list[Body] = [
        {"amount": 101},
        {"description": "Rent."},
        {"metadata": {}},
        {"reference": "1"},
        {"from_account_id": b["id"], "to_account_id": a["id"]},
    ]
    for change in changes:
        other = await payer.post("/transfers", body | change, key="key one")
        refused(other, 422, "idempotency_conflict")
    theirs = await stranger.open(funds=1_000)
    mine = await stranger.post("/transfers", asked(theirs, b, 7), key="key one")
    assert answered(mine, 201)["amount"] == 7  # another caller's keys are other keys
    assert await payer.balance(a) == 850
    await desk.books()


async def test_a_refused_request_does_not_burn_its_key(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=10), await payer.open()
    body = asked(a, b, 100)
    refused(await payer.post("/transfers", body, key="k"), 400, "insufficient_funds")
    broken = body | {"amount": -100}
    refused(await payer.post("/transfers", broken, key="k"), 422, "validation_failed")
    unknown = body | {"to_account_id": NOBODYS}
    refused(await payer.post("/transfers", unknown, key="k"), 404, "account_not_found")
    await payer.deposit(a, 100)
    assert answered(await payer.post("/transfers", body, key="k"), 201)["balance_after"] == 10
    again = await payer.post("/transfers", body, key="k")
    assert again.headers["idempotency-replayed"] == "true"
    assert await payer.balance(b) == 100


async def test_a_storm_of_one_key_moves_money_once(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    body = asked(a, b, 300)
    answers = await asyncio.gather(*(payer.post("/transfers", body, key="s") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert (await payer.balance(a), await payer.balance(b)) == (700, 300)
    await desk.books()


async def test_concurrent_transfers_do_not_overdraw(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    answers = await asyncio.gather(*(payer.post("/transfers", asked(a, b, 150)) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] * 6 + [400] * 4
    assert (await payer.balance(a), await payer.balance(b)) == (100, 900)
    await desk.books()


async def test_a_dry_run_answers_and_writes_nothing(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    before = await desk.books()
    body = asked(a, b, 400, description="Perhaps")
    dry = answered(await payer.post("/transfers", body, key="d", dry_run="true"), 200)
    conforms(TransferOut, dry)
    assert (dry["id"], dry["status"], dry["dry_run"]) == (None, "posted", True)
    assert (dry["balance_after"], dry["description"]) == (600, "Perhaps")
    assert await desk.books() == before
    real = answered(await payer.post("/transfers", body, key="d", dry_run="false"), 201)
    assert dry.keys() - real.keys() == {"dry_run"}
    assert real["balance_after"] == 600
    after = await desk.books()
    again = await payer.post("/transfers", body, key="d", dry_run="true")
    assert answered(again, 200) == real | {"dry_run": True}
    assert again.headers["idempotency-replayed"] == "true"
    assert await desk.books() == after


async def posted(customer: Customer, body: str, path: str = "/transfers") -> Any:
    headers = {"Content-Type": "application/json"}
    return await customer.client.post(path, content=body.encode(), headers=headers)
