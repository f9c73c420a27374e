from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.errors import InvalidCursor
from guilder.core.page import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Page,
    PageRequest,
    cursor_id,
    cursor_number,
    paginate,
)

ID = UUID("0198c6ba-0000-7000-8000-00000000000a")


@pytest.mark.parametrize("key", ["", "-1", "1.0", "1e3", "x", "٣", "²", " 1", "1" * 19])
def test_a_numbered_list_refuses_a_cursor_that_is_no_number(key: str) -> None:
    with pytest.raises(InvalidCursor):
        cursor_number(PageRequest(after=key))


def test_a_numbered_list_reads_its_cursor() -> None:
    assert cursor_number(PageRequest()) is None
    assert cursor_number(PageRequest(after="17")) == 17
    assert cursor_number(PageRequest(after="9" * 18)) == 10**18 - 1


@pytest.mark.parametrize(
    "key",
    ["", "x", "17", f"{{{ID}}}", f"urn:uuid:{ID}", str(ID).upper(), ID.hex, f" {ID}", f"{ID}0"],
)
def test_a_list_of_ids_refuses_a_cursor_that_is_no_id(key: str) -> None:
    with pytest.raises(InvalidCursor):
        cursor_id(PageRequest(after=key))


def test_a_list_of_ids_reads_its_cursor() -> None:
    assert cursor_id(PageRequest()) is None
    assert cursor_id(PageRequest(after=str(ID))) == ID


@given(st.lists(st.integers()), st.integers(1, MAX_LIMIT))
def test_a_page_holds_the_limit_and_tells_whether_more_follow(rows: list[int], limit: int) -> None:
    page = paginate(rows[: limit + 1], PageRequest(limit), str)
    assert list(page.items) == rows[:limit]
    assert page.has_more == (len(rows) > limit)
    if page.next_cursor is not None:
        assert page.next_cursor == str(page.items[-1])


def test_an_empty_list_is_one_empty_page() -> None:
    page: Page[int] = paginate([], PageRequest(), str)
    assert (list(page.items), page.next_cursor, page.has_more) == ([], None, False)


def test_a_mapped_page_keeps_its_cursor() -> None:
    request = PageRequest(2, cursor_of=lambda key: f"after {key}")
    page = paginate([1, 2, 3], request, str).map(lambda n: n * 10)
    assert page.items == [10, 20]
    assert page.next_cursor == "after 2"


def test_the_limits_are_those_of_the_api() -> None:
    assert (DEFAULT_LIMIT, MAX_LIMIT, PageRequest().limit) == (50, 100, 50)
