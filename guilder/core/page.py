"""Pages of a list: a limit, where to go on, and what comes after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from guilder.core.errors import InvalidCursor

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 50
MAX_OFFSET: Final = 100_000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """``limit`` 1 to 100; ``after`` the key of the last row before the page, or None.

    ``cursor_of`` makes a key the cursor that the caller is given; inside the bank it is the key.
    """

    limit: int = DEFAULT_LIMIT
    after: str | None = None
    offset: int = 0
    cursor_of: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Some items in stable order and the cursor of the next page, None at the end."""

    items: Sequence[T]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.next_cursor is not None

    def map[U](self, change: Callable[[T], U]) -> "Page[U]":
        """The same page with every item changed."""
        return Page([change(item) for item in self.items], self.next_cursor)


def cursor_number(request: PageRequest) -> int | None:
    """Where a list that is ordered by whole numbers goes on. Raises ``InvalidCursor``."""
    if request.after is None:
        return None
    if not (request.after.isascii() and request.after.isdigit() and len(request.after) <= 18):
        raise InvalidCursor()
    return int(request.after)


def cursor_id(request: PageRequest) -> UUID | None:
    """Where a list that is ordered by UUIDv7 ids goes on. Raises ``InvalidCursor``."""
    if request.after is None:
        return None
    try:
        found = UUID(request.after)
    except ValueError:
        raise InvalidCursor() from None
    if str(found) != request.after:
        raise InvalidCursor()
    return found


def paginate[T](rows: Sequence[T], request: PageRequest, key: Callable[[T], str]) -> Page[T]:
    """Make a page of up to ``limit + 1`` rows: the one too many only proves that more follow."""
    items = rows[: request.limit]
    more = len(rows) > request.limit
    return Page(items, request.cursor_of(key(items[-1])) if more else None)
