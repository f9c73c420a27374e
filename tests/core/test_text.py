"""What can be seen of a text."""

import unicodedata

import pytest

from guilder.core.text import is_blank


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
