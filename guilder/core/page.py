"""Pages of a list: a limit, an opaque cursor, and what comes after."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from guilder.core.errors import FieldError, Invalid

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 50
MAX_OFFSET: Final = 100_000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """``limit`` 1 to 100; ``after`` the decoded cursor (the last row's key) or None."""

    limit: int = DEFAULT_LIMIT
    after: str | None = None
    offset: int = 0


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


def encode_cursor(key: str) -> str:
    """Opaque text for the key of a page's last row."""
    return urlsafe_b64encode(key.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> str:
    """The key inside a cursor.

    Raises ``Invalid`` for text that ``encode_cursor`` cannot have made.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        key = raw.decode("ascii")
    except (binascii.Error, UnicodeError):
        raise invalid_cursor() from None
    if not key or encode_cursor(key) != cursor:
        raise invalid_cursor()
    return key


def invalid_cursor() -> Invalid:
    """The refusal of a malformed cursor."""
    return Invalid(fields=(FieldError("/cursor", "cursor_invalid", "The cursor is not valid."),))


def cursor_number(request: PageRequest) -> int | None:
    """The cursor as a whole number, for lists that are ordered by one. Raises ``Invalid``."""
    if request.after is None:
        return None
    if not (request.after.isascii() and request.after.isdigit() and len(request.after) <= 18):
        raise invalid_cursor()
    return int(request.after)


def cursor_id(request: PageRequest) -> UUID | None:
    """The cursor as an id, for lists that are ordered by UUIDv7 ids. Raises ``Invalid``."""
    if request.after is None:
        return None
    try:
        found = UUID(request.after)
    except ValueError:
        raise invalid_cursor() from None
    if str(found) != request.after:
        raise invalid_cursor()
    return found


def paginate[T](rows: Sequence[T], request: PageRequest, key: Callable[[T], str]) -> Page[T]:
    """Make a page of up to ``limit + 1`` rows: the one too many only proves that more follow."""
    items = rows[: request.limit]
    more = len(rows) > request.limit
    return Page(items, encode_cursor(key(items[-1])) if more else None)
