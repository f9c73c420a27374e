"""The JSON gate: a body is parsed here or refused, and never makes a 5xx later.

On the hottest path of the product, so the parser does nearly all of it, and the walk over the
document afterwards looks at whole levels at once: about 1 ms more for 2,000 transfers.

How many values a body holds is known before anything is built: each but the first stands behind a
comma or an opening bracket. Those are counted, first as they stand, texts included; only a body
that might have too many is looked at again without its texts, up to the value that is too many.
"""

import re
from collections.abc import Iterator
from itertools import chain
from math import isfinite
from typing import Any, Final

import jiter

from guilder.api.errors import (
    DuplicateKey,
    InvalidText,
    JsonTooDeep,
    MalformedJson,
    NumberOutOfRange,
    TooManyValues,
)
from guilder.api.turns import Turn
from guilder.core.errors import BadRequest

MAX_DEPTH: Final = 32
MAX_SHOWN_KEY: Final = 64
"""Characters of a key that a refusal repeats."""
_PLACE: Final = re.compile(r" at line ([0-9]+) column ([0-9]+)$")
_KEY: Final = re.compile(r'duplicate key "(.*)" at line', re.DOTALL)
MAX_VALUES: Final = 200
"""Objects, arrays, texts, numbers and so on that a body may hold unless its route takes more."""
LARGE_BYTES: Final = 200_000
"""A body of more is read in turns: parsing that much takes about a millisecond."""

_MARKS: Final = (b",", b"{", b"[")
_NEXT_MARK: Final = re.compile(
    rb'[^",{\[]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^",{\[]*+)*+(?:[,{\[]|(?P<broken>")|\Z)', re.DOTALL
)
"""What leads to the next mark outside of texts. It always fits, so it never looks back."""
_MARKS_AT_ONCE: Final = 5_000
_BYTES_AT_ONCE: Final = 500_000
_CONTAINERS: Final = frozenset({dict, list})

_REASONS: Final[tuple[tuple[str, type[BadRequest]], ...]] = (
    ("duplicate key", DuplicateKey),
    ("recursion limit", JsonTooDeep),
    ("number out of range", NumberOutOfRange),
    ("hex escape", InvalidText),
    ("unicode code point", InvalidText),
)
"""Words in the parser's message, and what they mean here."""


def parse(body: bytes, most_values: int = MAX_VALUES) -> object:
    """The document in ``body``. Raises ``MalformedJson`` or another ``BadRequest``.

    Refused are more than ``most_values`` values, NaN and infinities (in the form of 1e400 too),
    duplicate keys, NUL, lone surrogates, invalid UTF-8, nesting over 32, a byte order mark,
    anything after the document.
    """
    if not body:
        raise MalformedJson("The body is empty; a JSON document is needed.")
    if sum(map(body.count, _MARKS)) >= most_values:
        for _ in _counted(body, most_values):
            pass
    return _read(body)


async def parse_in_turns(body: bytes, most_values: int, turn: Turn) -> object:
    """``parse`` for a body of any size, in slices as far as the parser allows."""
    marks = 0
    for start in range(0, len(body), _BYTES_AT_ONCE):
        marks += sum(map(body[start : start + _BYTES_AT_ONCE].count, _MARKS))
        await turn.pause()
    if marks >= most_values:
        for _ in _counted(body, most_values):
            await turn.pause()
    return _read(body)


def _counted(body: bytes, most_values: int) -> Iterator[None]:
    """Count the values outside of texts, and stop now and then.

    Raises ``TooManyValues``. What is no JSON is left to the parser.
    """
    find, length = _NEXT_MARK.match, len(body)
    place = marks = looked_at = 0
    while place < length:
        found = find(body, place)
        assert found is not None
        place = found.end()
        if found["broken"] or place == length:
            return
        marks += 1
        if marks > most_values:
            raise TooManyValues()
        if marks % _MARKS_AT_ONCE == 0 or place - looked_at > _BYTES_AT_ONCE:
            looked_at = place
            yield


def _read(body: bytes) -> object:
    try:
        document = jiter.from_json(
            body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys"
        )
    except ValueError as error:
        raise _refusal(str(error)) from None
    _check(document, may_hold_nul=b"\\u0000" in body)
    return document


def _refusal(message: str) -> BadRequest:
    """What the parser's message means here, with the place, and the key that stands twice."""
    kind = next((kind for words, kind in _REASONS if words in message.lower()), MalformedJson)
    extra: dict[str, object] = {}
    if (place := _PLACE.search(message)) is not None:
        extra["position"] = {"line": int(place[1]), "column": int(place[2])}
    if kind is DuplicateKey and (key := _KEY.search(message)) is not None:
        extra["key"] = key[1][:MAX_SHOWN_KEY]
    return kind(extra=extra)


def _check(document: object, *, may_hold_nul: bool) -> None:
    """Walk the document level by level.

    Raises ``JsonTooDeep``, ``NumberOutOfRange`` for infinities, and ``InvalidText`` for NUL.
    """
    values: list[Any] = [document]
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, values))
        if float in kinds and not all(isfinite(v) for v in values if type(v) is float):
            raise NumberOutOfRange()
        if may_hold_nul and any("\0" in v for v in values if type(v) is str):
            raise InvalidText()
        if kinds.isdisjoint(_CONTAINERS):
            return
        objects = [v for v in values if type(v) is dict] if dict in kinds else []
        arrays = [v for v in values if type(v) is list] if list in kinds else []
        if may_hold_nul and any("\0" in key for key in chain.from_iterable(objects)):
            raise InvalidText()
        values = list(chain.from_iterable(map(dict.values, objects)))
        if arrays:
            values += chain.from_iterable(arrays)
    raise JsonTooDeep()
