"""The worst bodies that a route might take: as large as allowed, each hard in a way of its own."""

import json
from collections.abc import Iterator
from itertools import count

ONE = "01999999-0000-7000-8000-00000000000a"
OTHER = "01999999-0000-7000-8000-00000000000b"
TRANSFERS = 2_000
_MARKS_IN_TEXT = ",{[" * 150
_UNORDERED = "a\u0301\u0316"
"""A letter with two marks in the order that NFC has to change."""


def worst_bodies(most_bytes: int, most_values: int) -> Iterator[tuple[str, bytes]]:
    """Bodies by what is hard in them; ``most_values`` is how many values are let through."""
    few = most_values - 10
    yield "unknown keys", _filled(b"{", (b'"%06d":0' % n for n in count()), b"}", most_bytes)
    yield "keys let through", _object(few, most_bytes)
    yield "empty arrays", _filled(b"[", iter(lambda: b"[]", b""), b"]", most_bytes)
    yield "objects let through", b"[" + b",".join([b'{"a":{}}'] * (few // 3)) + b"]"
    yield "fractions", _filled(b"[", iter(lambda: b"0.1", b""), b"]", most_bytes)
    yield "long numbers", _filled(b"[", iter(lambda: b"9" * 4000, b""), b"]", most_bytes)
    yield "marks in texts", _texts(few, most_bytes, _MARKS_IN_TEXT.encode())
    yield "escapes", _texts(few, most_bytes, b"\\u0041" * 80)
    yield "one text", b'{"password":"' + b"x" * (most_bytes - 20) + b'"}'
    yield "doubled key at the end", _object(few, most_bytes)[:-1] + b',"000000":0}'
    if most_bytes > 1_000_000:
        yield "broken transfers", _batch(most_bytes, {"amount": -1, "metadata": {"a": 1}})
        yield "sound transfers", _batch(most_bytes, {}, "x" * 195)
        yield "texts to normalise", _batch(most_bytes, {}, _UNORDERED * 36)
        yield "texts of marks", _batch(most_bytes, {}, _MARKS_IN_TEXT[:195])
        yield "wide texts", _batch(most_bytes, {}, "x" * 180 + "\U0001f600")


def _filled(start: bytes, parts: Iterator[bytes], end: bytes, most_bytes: int) -> bytes:
    """Parts and commas until the body is as large as may be."""
    body = bytearray(start)
    for part in parts:
        if len(body) + len(part) + 2 > most_bytes:
            break
        body += part + b","
    return bytes(body[:-1]) + end


def _object(members: int, most_bytes: int) -> bytes:
    room = max(1, most_bytes // members - 14)
    value = b'"%b"' % (b"x" * min(room, 100))
    parts = (b'"%06d":%b' % (number, value) for number in range(members))
    return _filled(b"{", parts, b"}", most_bytes - 20)


def _texts(values: int, most_bytes: int, text: bytes) -> bytes:
    parts = (b'"%b"' % text for _ in range(values))
    return _filled(b"[", parts, b"]", most_bytes)


def _batch(most_bytes: int, changes: dict[str, object], text: str = "x") -> bytes:
    metadata = {f"k{number:02}": text for number in range(20)}
    item = {
        "from_account_id": ONE,
        "to_account_id": OTHER,
        "amount": 1,
        "metadata": metadata,
    } | changes
    raw = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
    most = min(TRANSFERS, (most_bytes - 20) // (len(raw) + 1))
    return b'{"transfers":[' + b",".join([raw] * most) + b"]}"
