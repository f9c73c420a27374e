"""What a field may hold, judged from its OpenAPI schema alone and without the bank's own code.

``True`` for sound, ``False`` for what must never be taken, ``None`` where the schema does not say
enough (an e-mail address, a password, a cursor): then any documented answer will do.
"""

import calendar
import json
import re
import unicodedata
from typing import Any, Final

type Schema = dict[str, Any]
type Verdict = bool | None

DEEPEST: Final = 32
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I | re.A)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.A)
_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,6})?(Z|[+-](\d\d):(\d\d))", re.I | re.A
)
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class NoDocument(Exception):
    """The fragment is no JSON, or holds what no body may."""


def read(fragment: bytes) -> Any:
    """The value of a JSON fragment by the standard library; refuses what the gate must refuse."""

    def no_constant(name: str) -> None:
        raise NoDocument(name)

    def real(text: str) -> float:
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise NoDocument("infinite")
        return number

    def whole(text: str) -> Any:
        return int(text) if len(text) < 4_000 else float("nan")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise NoDocument("a key twice")
        return dict(pairs)

    try:
        value = json.loads(
            fragment.decode("utf-8"), parse_constant=no_constant, parse_float=real,
            parse_int=whole, object_pairs_hook=members,
        )  # fmt: skip
    except (ValueError, RecursionError) as error:
        raise NoDocument(str(error)) from None
    _sound_texts(value, DEEPEST)
    return value


def _sound_texts(value: Any, room: int) -> None:
    match value:
        case str() if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            raise NoDocument("NUL or half a pair")
        case dict() | list() if not room:
            raise NoDocument("too deep")
        case dict():
            for name, inner in value.items():
                _sound_texts(name, room)
                _sound_texts(inner, room - 1)
        case list():
            for inner in value:
                _sound_texts(inner, room - 1)


def judge(schema: Schema, fragment: bytes) -> Verdict:
    """Whether a fragment in the place of a field is sound."""
    try:
        value = read(fragment)
    except NoDocument:
        return False
    if fragment.strip() == b"-0":
        return None if fits(schema, 0) else False
    return fits(schema, value)


def fits(schema: Schema, value: Any) -> Verdict:
    """Whether a parsed value is sound."""
    if "anyOf" in schema:
        return _any(fits(one, value) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        choices = schema.get("enum", [schema.get("const")])
        return any(type(one) is type(value) and one == value for one in choices)
    match schema.get("type"):
        case "null":
            return value is None
        case "boolean":
            return type(value) is bool
        case "integer":
            return type(value) is int and _between(schema, value)
        case "string":
            return _text(schema, value) if type(value) is str else False
        case "array":
            return _array(schema, value) if type(value) is list else False
        case "object" if "propertyNames" in schema:
            return _texts(schema, value) if type(value) is dict else False
        case "object":
            return None if type(value) is dict else False
        case _:
            return None


def fits_wire(schema: Schema, text: str) -> Verdict:
    """Whether a text in a query is sound: numbers and truth values are written out there."""
    if "anyOf" in schema:
        return _any(fits_wire(one, text) for one in schema["anyOf"] if one.get("type") != "null")
    if "\0" in text:
        return False
    match schema.get("type"):
        case "boolean":
            return text in ("true", "false")
        case "integer":
            if not re.fullmatch(r"-?[0-9]{1,18}", text, re.A):
                return False
            return None if text.startswith("-0") else _between(schema, int(text))
        case _:
            return fits(schema, text)


def _any(verdicts: Any) -> Verdict:
    found = list(verdicts)
    return True if True in found else None if None in found else False


def _between(schema: Schema, value: int) -> bool:
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def _text(schema: Schema, value: str) -> Verdict:
    match schema.get("format"):
        case "uuid":
            return _UUID.fullmatch(value) is not None
        case "date":
            return _is_date(value)
        case "date-time":
            return _is_instant(value)
        case "password":
            return None if len(value) <= 1024 else False
    if "pattern" in schema:
        matches = re.search(schema["pattern"], value, re.A) is not None and "\n" not in value
        if not (matches and _length(schema, value)):
            return False
        return (
            value[5:7] in {f"{month:02}" for month in range(1, 13)} and value[:4] != "0000"
            if (schema["pattern"].startswith("^[0-9]{4}-"))
            else True
        )
    clean = unicodedata.normalize("NFC", value.strip())
    if any(_is_control(c) for c in clean) or not _length(schema, clean):
        # Many spaces around a short text: taken or not, it is the same text.
        return (
            None if len(value) > 4 * schema.get("maxLength", len(value)) > 4 * len(clean) else False
        )
    if schema.get("format") == "email" or "maxLength" not in schema:
        return None
    # Many spaces around a short text: taken or not, it is the same text.
    return True if len(value) <= 4 * schema["maxLength"] else None


def _is_control(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") or c in _BIDI


def _length(schema: Schema, text: str) -> bool:
    return bool(schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text)))


def _is_date(value: str) -> bool:
    found = _DATE.fullmatch(value)
    if found is None:
        return False
    year, month, day = map(int, found.groups())
    return year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def _is_instant(value: str) -> Verdict:
    found = _INSTANT.fullmatch(value)
    if found is None or not _is_date(value[:10]):
        return False
    hour, minute, second = (int(found[part]) for part in (4, 5, 6))
    if hour > 23 or minute > 59 or second > 59:
        return False
    if found[9] is not None:
        if int(found[9]) > 23 or int(found[10]) > 59:
            return False
        if found[1] in ("0001", "9999"):
            return None  # may lie before the first instant or after the last
    return True


def _array(schema: Schema, value: list[Any]) -> Verdict:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    verdicts = [fits(schema["items"], inner) for inner in value]
    return False if False in verdicts else None if None in verdicts else True


def _texts(schema: Schema, value: dict[str, Any]) -> Verdict:
    if len(value) > schema["maxProperties"] or len({name.strip() for name in value}) < len(value):
        return False
    names = [fits({"type": "string", **schema["propertyNames"]}, name) for name in value]
    inner = [fits(schema["additionalProperties"], text) for text in value.values()]
    return False if False in (*names, *inner) else None if None in (*names, *inner) else True
