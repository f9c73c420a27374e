"""What can be seen of a text, and what finds it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.text import fold, is_blank, search_text, search_words


def finds(typed: str, text: str) -> bool:
    stored = search_text(text)
    return all(word in stored for word in search_words(typed))


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\u3000\t\u00a0"),
        *(chr(code) for code in (*range(0x200B, 0x2010), 0x2060, 0xFEFF, 0x00AD)),
        *("\u200b \u200b", "\ufe0f", "\u3164", "\u2800", "\U000e0041", "\u115f\u1160"),
    ],
)
def test_a_text_in_which_nothing_can_be_seen_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize(
    "text", ["a", "\u200b.", "\U0001f469\u200d\U0001f680", "\u2615\ufe0f", "\u0301", "\u05e9\u200f"]
)
def test_a_text_in_which_something_can_be_seen_is_not(text: str) -> None:
    assert not is_blank(text)


def test_no_letter_digit_or_sign_is_blank_but_the_fillers() -> None:
    seen = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code))[0] in "LNPS" and is_blank(chr(code))
    ]
    assert seen == ["\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"]


def test_what_is_folded_stays_as_it_is() -> None:
    every = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    folded = {found for one in every if (found := fold(one)) != one}
    assert len(folded) > 3_000
    assert [one for one in folded if fold(one) != one] == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_text_is_found_by_itself_in_any_form(text: str, other: str) -> None:
    stored = search_text(other, text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert all(word in stored for word in search_words(unicodedata.normalize(form, text)))


@given(st.text("aZéÈüñçßΏώςйЙİ \u0301\u0308", max_size=40))
def test_a_text_is_found_without_its_marks(text: str) -> None:
    parts = unicodedata.normalize("NFD", text)
    bare = "".join(one for one in parts if unicodedata.category(one) != "Mn")
    assert finds(bare, text)
    assert finds(bare.upper(), text)


@pytest.mark.parametrize(
    ("typed", "text", "found"),
    [
        ("straße", "STRASSE", True),
        ("cafe", "Café", True),
        ("café", "Cafe", False),
        ("йод", "ЙОД", True),
        ("иод", "ЙОД", True),
        ("हिन्दी", "हिन्दी", True),
        ("", "anything", True),
        ("two words", "words, two", True),
        ("two  words", "two", False),
    ],
)
def test_marks_count_where_they_are_typed(typed: str, text: str, found: bool) -> None:
    assert finds(typed, text) is found


def test_what_has_no_marks_is_stored_once() -> None:
    assert search_text("Rent", None, "R-1", "") == "rent\nr-1"
    assert search_text("Straße") == "strasse"
    assert search_text("é") == "é\ne"
    assert search_text(None) == ""
