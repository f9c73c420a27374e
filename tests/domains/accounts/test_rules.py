from datetime import date
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.clock import day_number, day_start, to_datetime
from guilder.core.ids import NumberCipher
from guilder.core.money import EXPONENTS
from guilder.domains.accounts.rules import (
    PRODUCTS,
    Month,
    account_number_of,
    category,
    is_account_number,
    line_id,
)
from guilder.domains.ledger.commands import CHART
from guilder.domains.ledger.rules.state import Kind

NUMBERS = st.integers(1, 10**11 - 1)


def luhn_sum(number: str) -> int:
    """The textbook's form of the check, written the other way round."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2]]
    return sum(doubled) + sum(int(digit) for digit in number[::-2])


@pytest.mark.parametrize(
    "text", ["", "1", "12345678901", "1234567890123", "12345678901x", " " * 12]
)
def test_text_of_another_shape_is_no_account_number(text: str) -> None:
    assert not is_account_number(text)


def test_digits_of_other_scripts_are_no_account_number() -> None:
    assert not is_account_number("١" * 12)


@given(NUMBERS, st.integers(0, 11), st.integers(1, 9))
def test_a_wrong_digit_is_noticed(number: int, place: int, more: int) -> None:
    sound = account_number_of(number)
    wrong = str((int(sound[place]) + more) % 10)
    assert not is_account_number(sound[:place] + wrong + sound[place + 1 :])


@given(NUMBERS, st.integers(0, 10))
def test_two_digits_in_the_wrong_order_are_noticed(number: int, place: int) -> None:
    sound = account_number_of(number)
    pair = sound[place : place + 2]
    if len(set(pair)) == 2 and set(pair) != {"0", "9"}:  # the one pair that Luhn cannot tell
        assert not is_account_number(sound[:place] + pair[::-1] + sound[place + 2 :])


@given(NUMBERS)
def test_account_numbers_pass_the_check_of_the_textbook(number: int) -> None:
    text = account_number_of(number)
    assert len(text) == 12
    assert text.isdecimal()
    assert luhn_sum(text) % 10 == 0
    assert is_account_number(text)


def test_account_numbers_are_unique_and_not_in_a_row() -> None:
    numbers = [account_number_of(n) for n in range(1, 20_001)]
    assert len(set(numbers)) == len(numbers)
    steps = {abs(int(b[:-1]) - int(a[:-1])) for a, b in pairwise(numbers)}
    assert min(steps) > 10**6


@pytest.mark.parametrize(
    ("number", "text"), [(1, "886578316186"), (2, "458997367016"), (10**11 - 1, "741740214522")]
)
def test_an_account_number_stays_what_it_is_lest_it_meet_one_given_before(
    number: int, text: str
) -> None:
    assert account_number_of(number) == text


def test_a_currency_that_is_gone_is_offered_until_its_last_day() -> None:
    product = PRODUCTS["checking"]
    before, after = date(2025, 12, 31), date(2026, 1, 2)
    gone = set(product.currencies_on(before)) - set(product.currencies_on(after))
    assert "BGN" in gone
    assert [product.offers("BGN", day) for day in (before, after)] == [True, False]
    assert "EUR" in product.currencies_on(after)


@pytest.mark.parametrize("number", [0, -1, 10**11])
def test_there_is_an_end_to_account_numbers(number: int) -> None:
    with pytest.raises(ValueError, match="no account numbers left"):
        account_number_of(number)


def test_products_are_what_the_contract_promises() -> None:
    assert {"checking", "savings"} <= PRODUCTS.keys()
    assert len({product.id for product in PRODUCTS.values()}) == len(PRODUCTS)
    for code, product in PRODUCTS.items():
        assert (product.code, product.floor) == (code, 0)
        assert set(product.currencies) <= EXPONENTS.keys()


@pytest.mark.parametrize(
    ("first", "last", "after"),
    [
        (date(2026, 1, 1), date(2026, 1, 31), "2026-02"),
        (date(2026, 2, 1), date(2026, 2, 28), "2026-03"),
        (date(2028, 2, 1), date(2028, 2, 29), "2028-03"),
        (date(2026, 12, 1), date(2026, 12, 31), "2027-01"),
    ],
)
def test_a_month_ends_where_the_calendar_says(first: date, last: date, after: str) -> None:
    month = Month(first)
    assert month.last == last
    assert str(Month.of(month.bounds[1] - 1)) == str(month)
    assert str(Month.of(month.bounds[1])) == after


def test_the_last_month_of_the_calendar_has_an_end() -> None:
    assert Month(date(9999, 12, 1)).bounds[1] == day_start(day_number(date.max) + 1)


@given(st.integers(-(2**55), 2**57))
def test_an_instant_lies_in_its_month(at_us: int) -> None:
    month = Month.of(at_us)
    start, end = month.bounds
    assert start <= at_us < end
    assert str(month) == to_datetime(at_us).date().isoformat()[:7]


@pytest.mark.parametrize(
    ("kind", "code", "credit", "word"),
    [
        (Kind.TRANSFER, None, True, "transfer"),
        (Kind.TRANSFER, None, False, "transfer"),
        (Kind.TRANSFER, "USD.settlement", True, "deposit"),
        (Kind.TRANSFER, "USD.settlement", False, "withdrawal"),
        (Kind.TRANSFER, "EUR.fees", False, "fee"),
        (Kind.TRANSFER, "EUR.interest", True, "interest"),
        (Kind.TRANSFER, "EUR.something", True, "transfer"),
        (Kind.REVERSAL, "USD.settlement", True, "reversal"),
        (Kind.REVERSAL, None, False, "reversal"),
        (Kind.CAPTURE, "USD.settlement", False, "payment"),
        (Kind.CAPTURE_FINAL, None, False, "payment"),
    ],
)
def test_a_line_is_called_by_kind_and_other_side(
    kind: Kind, code: str | None, credit: bool, word: str
) -> None:
    assert category(kind, code, credit) == word


def test_every_account_of_the_bank_has_words_of_its_own() -> None:
    for role in CHART:
        words = {category(Kind.TRANSFER, f"USD.{role}", credit) for credit in (True, False)}
        assert "transfer" not in words


@given(st.integers(1, 2**40), st.integers(0, 2**62))
def test_the_two_lines_of_a_transfer_have_ids_of_their_own(number: int, at_us: int) -> None:
    transfer = NumberCipher(bytes(range(32))).uuid_text(number, at_us % 2**57)
    credit, debit = line_id(transfer, True), line_id(transfer, False)
    assert len({transfer, credit, debit}) == 3
    for text in (credit, debit):
        assert str(UUID(text)) == text
        assert (UUID(text).version, UUID(text).variant) == (8, UUID(transfer).variant)


@pytest.mark.parametrize(
    ("transfer", "credit", "debit"),
    [
        (
            "01900000-1234-7000-8000-00000000000a",
            "01900000-1234-8000-8000-00000000000a",
            "81900000-1234-8000-8000-00000000000a",
        ),
        (
            "f23456ab-cdef-7123-b456-789abcdef012",
            "f23456ab-cdef-8123-b456-789abcdef012",
            "723456ab-cdef-8123-b456-789abcdef012",
        ),
    ],
)
def test_the_id_of_a_line_never_changes(transfer: str, credit: str, debit: str) -> None:
    assert (line_id(transfer, True), line_id(transfer, False)) == (credit, debit)
