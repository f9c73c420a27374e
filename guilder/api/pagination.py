"""Pages over HTTP: ``limit``, ``cursor`` and ``offset`` in, ``items`` and the next cursor out."""

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from pydantic import ConfigDict, Field

from guilder.api.deps import TheExchange
from guilder.api.exchange import Exchange
from guilder.api.fields import NOT_A_STRING, InvalidValue, Rule
from guilder.api.schema import MAX_OPAQUE_LENGTH, ResponseBody, query_integer_rule
from guilder.core.errors import FieldError, Invalid, InvalidCursor, Place
from guilder.core.page import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Page, PageRequest
from guilder.core.ports import CannotUnseal
from guilder.infra.security.cursors import CursorSealer

CURSOR: Final = "cursor"
"""The query parameter by which a list goes on; an operation that has it is a list in pages."""
_MOVING: Final = frozenset({CURSOR, "limit", "offset"})
"""Parameters that may differ from page to page; all others are filters."""


def parse_cursor(value: object) -> str:
    """A cursor as it was sent: whether it is one of ours is told by its seal."""
    if type(value) is not str:
        raise InvalidValue(*NOT_A_STRING)
    return value


_CURSOR_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": MAX_OPAQUE_LENGTH}
_Limit = Annotated[
    int, query_integer_rule(1, MAX_LIMIT), Query(description="Items in the answer at most.")
]
_Cursor = Annotated[
    str | None,
    Rule(parse_cursor, _CURSOR_SCHEMA),
    Query(
        description="The `next_cursor` of the page before. It is good for the caller and the list "
        "it was given for, with the same filters; `limit` may differ."
    ),
]
_Offset = Annotated[
    int, query_integer_rule(0, MAX_OFFSET), Query(description="Items to skip; not with a cursor.")
]


class PageOut[T](ResponseBody):
    """Some items, and where the list goes on."""

    model_config = ConfigDict(
        json_schema_extra={"description": "Some items, and where the list goes on."}
    )

    items: list[T] = Field(description="The items of this page.")
    next_cursor: str | None = Field(
        description="What to give as `cursor` for the next page; null on the last one.",
        examples=[None],
    )
    has_more: bool = Field(description="Whether there is a next page.", examples=[False])

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """The page's name in the reference: ``AccountPage``."""
        name: str = params[0].__name__
        return name.removesuffix("Out") + "Page"


async def page_request(
    exchange: TheExchange,
    limit: _Limit = DEFAULT_LIMIT,
    cursor: _Cursor = None,
    offset: _Offset = 0,
) -> PageRequest:
    """The requested page, whose cursors are bound to the list, its filters and the caller.

    Raises ``InvalidCursor`` for any other, and ``Invalid`` for an offset beside a cursor.
    """
    if cursor is not None and offset:
        message = "An offset does not go with a cursor."
        raise Invalid(fields=(FieldError("offset", "not_with_cursor", message, Place.QUERY),))
    sealer, bound_to = exchange.parts[CursorSealer], _bound_to(exchange)
    try:
        after = None if cursor is None else sealer.unseal(cursor, bound_to)
    except CannotUnseal:
        raise InvalidCursor() from None
    return PageRequest(limit, after, offset, partial(sealer.seal, bound_to=bound_to))


def _bound_to(exchange: Exchange) -> str:
    """What a cursor of this request belongs to, the order of the filters aside."""
    filters = sorted(pair for pair in exchange.query.items() if pair[0] not in _MOVING)
    return json.dumps([exchange.scope["path"], filters, exchange.actor.scope])


PageQuery = Annotated[PageRequest, Depends(page_request)]


def page_body[T](page: Page[T], item: Callable[[T], Any]) -> dict[str, Any]:
    """A page in its wire form, each item made by ``item``."""
    return {
        "items": [item(row) for row in page.items],
        "next_cursor": page.next_cursor,
        "has_more": page.has_more,
    }
