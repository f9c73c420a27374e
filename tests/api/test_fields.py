"""What the rules of fields give back, and the types that are written."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guilder.api import fields
from guilder.api.fields import InvalidValue
from guilder.api.replies import json_response, to_json
from guilder.api.schema import (
    Amount,
    QueryAmount,
    QueryMonth,
    QueryText,
    RequestBody,
    Text255,
    UuidText,
    integer_rule,
)
from tests.api.plumbing import NOW, USER


class Query(RequestBody):
    month: QueryMonth | None = None
    least: QueryAmount | None = None
    q: QueryText = ""
    account: UuidText | None = None
    amount: Amount = 1
    note: Text255 = ""


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20.5+01:00", NOW + 500_000),
        ("2023-11-14t22:13:20z", NOW),
    ],
)
def test_instant_is_microseconds(text: str, micros: int) -> None:
    assert fields.parse_instant(text) == micros


def test_values_come_back_clean() -> None:
    read = Query.model_validate(
        {"month": "2026-02", "least": "7", "q": " a ", "account": str(USER).upper()}
    )
    assert (read.month, read.least, read.q, read.account) == (date(2026, 2, 1), 7, "a", str(USER))
    assert fields.parse_uuid(USER) is USER
    assert fields.parse_date("2024-02-29") == date(2024, 2, 29)
    assert integer_rule(1, 3).check(3) == 3
    for wrong in (0, 4, True, 1.0, "1"):
        with pytest.raises(InvalidValue):
            integer_rule(1, 3).check(wrong)


@pytest.mark.parametrize("wrong", ["2026-13", "2026-2", "0000-01", "2026-02-01", 202602])
def test_month_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="YYYY-MM"):
        Query.model_validate({"month": wrong})


@given(st.text(max_size=300))
def test_clean_text_stays_as_it_is_when_cleaned_again(text: str) -> None:
    check = fields.text_parser(255)
    try:
        clean = check(text)
    except InvalidValue:
        return
    assert check(clean) == clean
    assert len(clean) <= 255


def test_a_reply_has_its_ids_and_headers() -> None:
    reply = json_response(200, {"id": USER}, {"X-Extra": "1"})
    assert reply.body == f'{{"id":"{USER}"}}'.encode()
    assert reply.headers["x-extra"] == "1"
    with pytest.raises(TypeError):
        to_json(object())


def test_an_error_of_a_model_hides_what_was_sent() -> None:
    with pytest.raises(ValidationError) as caught:
        Query.model_validate({"amount": "canary", "note": ["canary"], "x": "canary"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("blank", ["\u200b", "\u200f\u200e", "\u2060", "\ufeff \u00ad"])
def test_a_text_in_which_nothing_can_be_seen_is_empty(blank: str) -> None:
    assert fields.text_parser(255)(blank) == ""
    with pytest.raises(InvalidValue) as refused:
        fields.text_parser(100, 1)(blank)
    assert (refused.value.code, refused.value.message) == (
        "too_short",
        "The text must not be empty.",
    )


def test_what_is_invisible_beside_something_else_stays() -> None:
    for text in ("\U0001f469\u200d\U0001f680", "\u05e9\u200f", "a\u00adb"):
        assert fields.text_parser(255)(text) == text
