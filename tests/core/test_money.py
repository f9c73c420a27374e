import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.errors import Invalid
from guilder.core.money import (
    EXPONENTS,
    MAX_AMOUNT,
    MAX_BOOK,
    Money,
    UnknownCurrency,
    exponent_of,
    format_minor,
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
    with pytest.raises(UnknownCurrency):
        Money(1, code)
    with pytest.raises(UnknownCurrency):
        format_minor(1, code)


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


@pytest.mark.parametrize("amount", [1.0, True, "1", None])
def test_an_amount_is_refused_when_it_is_not_an_int(amount: int) -> None:
    with pytest.raises(TypeError, match="minor units"):
        Money(amount, "USD")


def test_dollars_and_euros_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="USD and EUR do not add up"):
        Money(1, "USD") + Money(1, "EUR")
    with pytest.raises(ValueError, match="USD and EUR do not add up"):
        Money(1, "USD") - Money(1, "EUR")


@given(st.integers(), st.integers())
def test_sums_and_differences_are_exact_when_the_currency_is_the_same(a: int, b: int) -> None:
    assert Money(a, "EUR") + Money(b, "EUR") == Money(a + b, "EUR")
    assert Money(a, "EUR") - Money(b, "EUR") == Money(a - b, "EUR")


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(123_450, "USD"), "1,234.50 USD"),
        (Money(500, "JPY"), "500 JPY"),
        (Money(-5, "USD"), "-0.05 USD"),
        (Money(-1_234_567, "KWD"), "-1,234.567 KWD"),
        (Money(1, "CLF"), "0.0001 CLF"),
        (Money(0, "USD"), "0.00 USD"),
        (Money(MAX_AMOUNT, "USD"), "90,071,992,547,409.91 USD"),
    ],
)
def test_money_is_written_with_the_currencys_own_digits(money: Money, text: str) -> None:
    assert str(money) == text
    assert format_minor(money.amount, money.currency) == text[:-4]


@given(st.integers(), st.sampled_from(sorted(EXPONENTS)))
def test_written_money_loses_no_digit(amount: int, code: str) -> None:
    text = format_minor(amount, code)
    assert int(text.replace(",", "").replace(".", "")) == amount
    assert len(text.partition(".")[2]) == exponent_of(code)


def test_the_bounds_are_those_of_json_and_of_bigint() -> None:
    assert float(MAX_AMOUNT) == MAX_AMOUNT
    assert float(MAX_AMOUNT + 2) != MAX_AMOUNT + 2
    assert MAX_BOOK == 9_223_372_036_854_775_807
