from datetime import date, timedelta

import pytest

from guilder.core.money import (
    EXPONENTS,
    MAX_AMOUNT,
    MAX_BOOK,
    VALID_UNTIL,
    UnknownCurrency,
    exponent_of,
    is_valid,
)


@pytest.mark.parametrize(
    "code",
    [
        "XXX",
        "XTS",
        "XAU",
        "XAG",
        "XPD",
        "XPT",
        "XDR",
        "usd",
        "USD ",
        "US",
        "",
        "USDT",
        "BTC",
        "ABC",
    ],
)
def test_a_code_is_refused_when_no_account_can_be_held_in_it(code: str) -> None:
    with pytest.raises(UnknownCurrency) as refused:
        exponent_of(code)
    assert code == "" or code not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "exponent"),
    [
        ("JPY", 0), ("KRW", 0), ("ISK", 0), ("VND", 0), ("XOF", 0),
        ("USD", 2), ("EUR", 2), ("GBP", 2), ("CHF", 2), ("HUF", 2), ("MRU", 2),
        ("KWD", 3), ("BHD", 3), ("TND", 3), ("JOD", 3),
        ("CLF", 4), ("UYW", 4),
    ],
)  # fmt: skip
def test_a_currency_has_its_own_exponent(code: str, exponent: int) -> None:
    assert exponent_of(code) == exponent


def test_the_codes_are_those_of_iso_4217_in_2026() -> None:
    """List one of 2026 has 178 codes, 13 of them without a minor unit."""
    valid = {code for code in EXPONENTS if is_valid(code, date(2026, 11, 28))}
    assert len(valid) == 165
    assert {"EUR", "XAD", "XCG", "ZWG", "SLE", "VED"} <= valid
    assert exponent_of("XAD") == 2
    assert EXPONENTS.keys() - valid == VALID_UNTIL.keys() == {"ANG", "BGN"}


@pytest.mark.parametrize(
    ("code", "last"), [("BGN", date(2025, 12, 31)), ("ANG", date(2025, 6, 30))]
)
def test_a_code_that_is_gone_was_valid_until_its_last_day(code: str, last: date) -> None:
    assert is_valid(code, last)
    assert not is_valid(code, last + timedelta(days=1))
    assert exponent_of(code) == 2  # accounts in it can still be read


def test_every_code_has_three_capital_letters_and_one_exponent() -> None:
    assert all(len(c) == 3 and c.isascii() and c.isalpha() and c.isupper() for c in EXPONENTS)
    assert set(EXPONENTS.values()) == {0, 2, 3, 4}
    assert len(EXPONENTS) > 150


def test_the_bounds_are_those_of_json_and_of_bigint() -> None:
    assert float(MAX_AMOUNT) == MAX_AMOUNT
    assert float(MAX_AMOUNT + 2) != MAX_AMOUNT + 2
    assert MAX_BOOK == 9_223_372_036_854_775_807
