"""Pages over HTTP: ``limit``, ``cursor`` and ``offset`` in, ``items`` and the next cursor out."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Query

from guilder.api.schema import ResponseBody, query_integer_rule, text_rule
from guilder.core.errors import FieldError, Invalid
from guilder.core.page import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Page, PageRequest, decode_cursor

_Limit = Annotated[
    int, query_integer_rule(1, MAX_LIMIT), Query(description="Items in the answer at most.")
]
_Cursor = Annotated[
    str | None, text_rule(500), Query(description="The `next_cursor` of the page before.")
]
_Offset = Annotated[
    int, query_integer_rule(0, MAX_OFFSET), Query(description="Items to skip; not with a cursor.")
]


class PageOut[T](ResponseBody):
    """Some items, and where the list goes on."""

    items: list[T]
    next_cursor: str | None
    has_more: bool


async def page_request(
    limit: _Limit = DEFAULT_LIMIT, cursor: _Cursor = None, offset: _Offset = 0
) -> PageRequest:
    """The requested page.

    Raises ``Invalid`` for a malformed cursor, and for an offset beside a cursor.
    """
    if cursor is not None and offset:
        message = "An offset does not go with a cursor."
        raise Invalid(fields=(FieldError("/offset", "not_with_cursor", message),))
    return PageRequest(limit, None if cursor is None else decode_cursor(cursor), offset)


PageQuery = Annotated[PageRequest, Depends(page_request)]


def page_body[T](page: Page[T], item: Callable[[T], Any]) -> dict[str, Any]:
    """A page in its wire form, each item made by ``item``."""
    return {
        "items": [item(row) for row in page.items],
        "next_cursor": page.next_cursor,
        "has_more": page.has_more,
    }
