from base64 import urlsafe_b64encode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.errors import Invalid
from guilder.core.page import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Page,
    PageRequest,
    cursor_id,
    cursor_number,
    decode_cursor,
    encode_cursor,
    paginate,
)

ID = UUID("0198c6ba-0000-7000-8000-00000000000a")
KEYS = st.text(st.characters(max_codepoint=127), min_size=1)


def assert_cursor_refused(refused: Invalid) -> None:
    (field,) = refused.fields
    assert (field.pointer, field.code) == ("/cursor", "cursor_invalid")


@given(KEYS)
def test_a_cursor_survives_the_round_trip(key: str) -> None:
    cursor = encode_cursor(key)
    assert decode_cursor(cursor) == key
    assert "=" not in cursor


@given(st.text())
def test_any_text_is_a_cursor_of_ours_or_refused(text: str) -> None:
    try:
        key = decode_cursor(text)
    except Invalid as refused:
        assert_cursor_refused(refused)
    else:
        assert encode_cursor(key) == text


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "=",
        "A",
        "MTI=",  # padded
        "MTI\n",  # with a character that base64 readers skip
        "MT I",
        "MTJ",  # spare bits set: reads as "12" too
        "été",
        "\ud800",
        urlsafe_b64encode("ü".encode()).rstrip(b"=").decode(),
        urlsafe_b64encode(b"\xff\xfe").rstrip(b"=").decode(),
    ],
)
def test_a_cursor_is_refused_when_it_was_not_given_out(cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        decode_cursor(cursor)
    assert_cursor_refused(refused.value)


@pytest.mark.parametrize("key", ["", "-1", "1.0", "1e3", "x", "٣", "²", " 1", "1" * 19])
def test_a_numbered_list_refuses_a_cursor_that_is_no_number(key: str) -> None:
    with pytest.raises(Invalid) as refused:
        cursor_number(PageRequest(after=key))
    assert_cursor_refused(refused.value)


def test_a_numbered_list_reads_its_cursor() -> None:
    assert cursor_number(PageRequest()) is None
    assert cursor_number(PageRequest(after="17")) == 17
    assert cursor_number(PageRequest(after="9" * 18)) == 10**18 - 1


@pytest.mark.parametrize(
    "key",
    ["", "x", "17", f"{{{ID}}}", f"urn:uuid:{ID}", str(ID).upper(), ID.hex, f" {ID}", f"{ID}0"],
)
def test_a_list_of_ids_refuses_a_cursor_that_is_no_id(key: str) -> None:
    with pytest.raises(Invalid) as refused:
        cursor_id(PageRequest(after=key))
    assert_cursor_refused(refused.value)


def test_a_list_of_ids_reads_its_cursor() -> None:
    assert cursor_id(PageRequest()) is None
    assert cursor_id(PageRequest(after=str(ID))) == ID


@given(st.lists(st.integers()), st.integers(1, MAX_LIMIT))
def test_a_page_holds_the_limit_and_tells_whether_more_follow(rows: list[int], limit: int) -> None:
    page = paginate(rows[: limit + 1], PageRequest(limit), str)
    assert list(page.items) == rows[:limit]
    assert page.has_more == (len(rows) > limit)
    if page.next_cursor is not None:
        assert decode_cursor(page.next_cursor) == str(page.items[-1])


def test_an_empty_list_is_one_empty_page() -> None:
    page: Page[int] = paginate([], PageRequest(), str)
    assert (list(page.items), page.next_cursor, page.has_more) == ([], None, False)


def test_a_mapped_page_keeps_its_cursor() -> None:
    page = paginate([1, 2, 3], PageRequest(2), str).map(lambda n: n * 10)
    assert page.items == [10, 20]
    assert page.next_cursor == encode_cursor("2")


def test_the_limits_are_those_of_the_api() -> None:
    assert (DEFAULT_LIMIT, MAX_LIMIT, PageRequest().limit) == (50, 100, 50)
