import pytest

from guilder.core.errors import Invalid
from guilder.core.money import (
    EXPONENTS,
    MAX_AMOUNT,
    MAX_BOOK,
    UnknownCurrency,
    exponent_of,
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
    assert refused.value.code == "unknown_currency"
    assert isinstance(refused.value, Invalid)
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


def test_every_code_has_three_capital_letters_and_one_exponent() -> None:
    assert all(len(c) == 3 and c.isascii() and c.isalpha() and c.isupper() for c in EXPONENTS)
    assert set(EXPONENTS.values()) == {0, 2, 3, 4}
    assert len(EXPONENTS) > 150


def test_the_bounds_are_those_of_json_and_of_bigint() -> None:
    assert float(MAX_AMOUNT) == MAX_AMOUNT
    assert float(MAX_AMOUNT + 2) != MAX_AMOUNT + 2
    assert MAX_BOOK == 9_223_372_036_854_775_807
