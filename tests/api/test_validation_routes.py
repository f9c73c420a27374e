"""Fields that break their rules: the cold and the lean route refuse them in the same words."""

import json
from typing import Any

import pytest

from guilder.core.money import MAX_AMOUNT
from tests.api.plumbing import COLD, LEAN, USER, client_of, make_app, move, problem

JSON = {"Content-Type": "application/json"}
WRONG: list[Any] = ["1", 1.0, True, None, [], {}]
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    *(({"amount": wrong}, "/amount", "wrong_type") for wrong in WRONG),
    *(({"amount": wrong}, "/amount", "out_of_range") for wrong in (0, -1, MAX_AMOUNT + 1, 10**26)),
    ({"amount": ...}, "/amount", "required"),
    *(({"currency": wrong}, "/currency", "unknown_currency") for wrong in ("usd", "XXX", "", 1)),
    *(
        ({"from_id": wrong}, "/from_id", "invalid_uuid")
        for wrong in ("", "1", 1, USER.hex, "{" + str(USER) + "}", f"urn:uuid:{USER}", None)
    ),
    ({"extra": 1}, "/extra", "unknown_field"),
    ({"a/b~c": 1}, "/a~1b~0c", "unknown_field"),
    ({"x" * 500: 1}, "/" + "x" * 64, "unknown_field"),
    ({"description": 1}, "/description", "wrong_type"),
    ({"description": "x" * 256}, "/description", "too_long"),
    ({"description": " " * 2000}, "/description", "too_long"),
    *(
        ({"description": f"a{wrong}b"}, "/description", "control_character")
        for wrong in ("\x07", "\n", "\x7f", "\x85", "\u2028", "\u202e", "\u2066")
    ),
    ({"reference": "x" * 65}, "/reference", "too_long"),
    ({"name": "  "}, "/name", "too_short"),
    *(({"name": blank}, "/name", "too_short") for blank in ("\u200b", " \u2060\ufeff", "\u00ad")),
    ({"metadata": {"\u200b": ""}}, "/metadata/\u200b", "too_short"),
    ({"name": "x" * 101}, "/name", "too_long"),
    ({"metadata": []}, "/metadata", "wrong_type"),
    ({"metadata": {str(n): "" for n in range(21)}}, "/metadata", "too_many"),
    ({"metadata": {"k": 1}}, "/metadata/k", "wrong_type"),
    ({"metadata": {"k": "x" * 501}}, "/metadata/k", "too_long"),
    ({"metadata": {"k" * 41: ""}}, "/metadata/" + "k" * 41, "too_long"),
    ({"metadata": {"": ""}}, "/metadata/", "too_short"),
    ({"metadata": {"a": "", " a": ""}}, "/metadata/ a", "duplicate_key"),
    *(({"urgent": wrong}, "/urgent", "wrong_type") for wrong in (1, "true", None)),
    *(
        ({"on": wrong}, "/on", "invalid_date")
        for wrong in ("2026-02-30", "20260228", "2026-W01-1", "0000-01-01", 1, "2026-02-28T00")
    ),
    *(
        ({"at": wrong}, "/at", "invalid_instant")
        for wrong in (
            *("2026-02-28", "2026-02-28T10:00:00", "2026-02-28T24:00:00Z", "2026-02-28T10:00:61Z"),
            *(1, "0001-01-01T00:00:00+14:00", "2026-02-28 10:00:00Z", "2026-02-28T10:00:00+99:00"),
        )
    ),
    ({"to_id": str(USER)}, "/to_id", "same"),
]
ACCEPTED: list[dict[str, Any]] = [
    {"amount": 1},
    {"amount": MAX_AMOUNT},
    {"from_id": str(USER).upper()},
    {"currency": "KWD", "reference": None, "metadata": None},
    {"description": "", "reference": "x" * 64, "name": " " + "n" * 100 + " "},
    {"description": "e\u0301" * 255},
    {"description": "\U0001f469\u200d\U0001f680 \u05e9\u05dc\u05d5\u05dd"},
    {"metadata": {"k" * 40: "v" * 500, "b": ""}},
    {"on": "2024-02-29", "at": "2026-02-28t10:00:00.123456z", "urgent": True},
    {"at": "2026-02-28T10:00:00-23:59"},
]


@pytest.mark.parametrize("path", [LEAN, COLD])
async def test_broken_field_is_named_with_a_code(path: str) -> None:
    async with client_of(make_app()) as client:
        for changes, pointer, code in REFUSED:
            response = await client.post(path, content=json.dumps(move(**changes)), headers=JSON)
            body = problem(response, 422, "validation_failed")
            [error] = body["errors"]
            assert (error["pointer"], error["code"]) == (pointer, code), changes
            assert error["message"].endswith(".")


@pytest.mark.parametrize("path", [LEAN, COLD])
async def test_sound_fields_are_taken(path: str) -> None:
    async with client_of(make_app()) as client:
        for changes in ACCEPTED:
            response = await client.post(path, content=json.dumps(move(**changes)), headers=JSON)
            assert response.status_code == 201, (changes, response.text)


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"amount":1e3}', b'{"amount":1e400}', b'{"amount":NaN}', b'{"amount":1.0}', b"[]"),
        *(
            b"null",
            b"1",
            b'"x"',
            b"{",
            b"",
            b'{"a":1,"a":1}',
            b'["\\ud800"]',
            b'{"a":"\\u0000"}',
        ),
        *(b"[" * 33 + b"]" * 33, b"\xef\xbb\xbf{}", b'{"amount":-0}', b"{} {}", b'{"\\u0000":1}'),
        json.dumps(move(amount="1", name="", x=1, description=["y"])).encode(),
    ],
    ids=map(str, range(19)),
)
async def test_cold_and_lean_refuse_alike(body: bytes) -> None:
    async with client_of(make_app()) as client:
        answers = []
        for path in (COLD, LEAN):
            response = await client.post(
                path, content=body, headers={**JSON, "X-Request-Id": "same"}
            )
            kept = {n: v for n, v in response.headers.items() if n != "content-length"}
            answers.append((response.status_code, kept, response.json()))
        assert answers[0] == answers[1]
        assert answers[0][0] in (400, 422)


async def test_many_broken_items_are_named_by_index_up_to_a_bound() -> None:
    async with client_of(make_app()) as client:
        path = "/api/v1/moves/batches"
        response = await client.post(path, json={"moves": [move(), move(amount=0)]})
        body = problem(response, 422, "validation_failed")
        assert [e["pointer"] for e in body["errors"]] == ["/moves/1/amount"]
        for moves, code in (([], "too_few"), ([move()] * 4, "too_many"), ({}, "wrong_type")):
            body = problem(await client.post(path, json={"moves": moves}), 422, "validation_failed")
            assert [e["code"] for e in body["errors"]] == [code]
        unknown = {f"field-{n}": n for n in range(150)}
        body = problem(await client.post(LEAN, json=unknown), 422, "validation_failed")
        assert len(body["errors"]) == 100
        unknown = {f"field-{n}": n for n in range(300)}
        problem(await client.post(LEAN, json=unknown), 400, "too_many_values")


@pytest.mark.parametrize("flag", ["1", "yes", "TRUE", "", "on"])
async def test_flag_in_a_query_is_true_or_false(flag: str) -> None:
    async with client_of(make_app()) as client:
        response = await client.post(f"{COLD}?dry_run={flag}", json=move())
        body = problem(response, 422, "validation_failed")
        assert [e["parameter"] for e in body["errors"]] == ["dry_run"]


@pytest.mark.parametrize("path", [LEAN, COLD])
@pytest.mark.parametrize("key", [b"", b"x" * 256, b"a\x7f", b"a\xe9", b"\xc3\xa9", b"a\tb"])
async def test_idempotency_key_of_another_shape_is_refused(path: str, key: bytes) -> None:
    async with client_of(make_app()) as client:
        response = await client.post(path, json=move(), headers=[(b"Idempotency-Key", key)])
        body = problem(response, 422, "validation_failed")
        assert [e["header"] for e in body["errors"]] == ["Idempotency-Key"]


@pytest.mark.parametrize("path", [LEAN, COLD])
@pytest.mark.parametrize("key", ["k", "x" * 255, "a b~!"])
async def test_idempotency_key_of_the_right_shape_is_taken(path: str, key: str) -> None:
    async with client_of(make_app()) as client:
        response = await client.post(path, json=move(), headers={"Idempotency-Key": key})
        assert response.status_code == 201
