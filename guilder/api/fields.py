"""The rules of single fields: one definition each, for Pydantic's models and for lean routes.

A rule takes a value as JSON or the query brings it and returns it clean, or raises ``InvalidValue``
with a stable code and a fixed message. ``schema`` makes Pydantic types of these rules. A lean
route that reads thousands of objects may call them itself to take in what is sound, and leave
what is not to the model, which names all that is broken.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from guilder.core.clock import from_datetime
from guilder.core.money import EXPONENTS, MAX_AMOUNT
from guilder.core.text import is_blank

BROKEN_RULE: Final = "guilder"
"""Marks the errors of Pydantic that stem from a rule of ours; holds the message."""

REQUIRED: Final = ("required", "This field is required.")
UNKNOWN_FIELD: Final = ("unknown_field", "There is no such field.")
NOT_AN_OBJECT: Final = ("wrong_type", "The value must be an object.")
NOT_AN_ARRAY: Final = ("wrong_type", "The value must be an array.")
NOT_AN_INTEGER: Final = ("wrong_type", "The value must be an integer.")
NOT_A_STRING: Final = ("wrong_type", "The value must be a string.")
NOT_A_BOOLEAN: Final = ("wrong_type", "The value must be true or false.")
NOT_A_CHOICE: Final = ("not_a_choice", "The value is not one of the choices.")
TOO_FEW: Final = ("too_few", "There are too few items.")
TOO_MANY: Final = ("too_many", "There are too many items.")
"""Code and message of what a rule is not needed for, the same wherever it is found."""

AN_INSTANT: Final = "an RFC 3339 instant with Z or an offset, such as 2026-11-02T09:30:00Z"

MAX_METADATA_KEYS: Final = 20
MAX_METADATA_KEY_LENGTH: Final = 40
MAX_METADATA_VALUE_LENGTH: Final = 500

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}")
_DIGITS: Final = re.compile(r"-?[0-9]{1,18}")
_CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line and paragraph separators, overrides of the direction, surrogates."""


class InvalidValue(Exception):
    """A value breaks its rule; ``below`` leads from the value to the part that is broken."""

    def __init__(self, code: str, message: str, below: tuple[str | int, ...] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.below = below

    def as_pydantic(self) -> PydanticCustomError:
        """The same for Pydantic, which ``validation`` knows to be ours."""
        context = {BROKEN_RULE: self.message, "below": self.below}
        return PydanticCustomError(self.code, "{" + BROKEN_RULE + "}", context)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A check and its JSON schema; in ``Annotated`` it is all that Pydantic asks of a field."""

    check: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)

    def _checked(self, value: Any) -> Any:
        try:
            return self.check(value)
        except InvalidValue as broken:
            raise broken.as_pydantic() from None


def parse_amount(value: object) -> int:
    """Minor units of a currency, 1 to 2^53-1; no float, no text, no truth value."""
    if type(value) is not int:
        raise InvalidValue("wrong_type", "The amount must be an integer of minor units.")
    if not 1 <= value <= MAX_AMOUNT:
        raise InvalidValue("out_of_range", f"The amount must be from 1 to {MAX_AMOUNT}.")
    return value


def parse_currency(value: object) -> str:
    """The code of a currency of ISO 4217 that accounts can be held in."""
    if type(value) is not str or value not in EXPONENTS:
        message = "The currency must be an ISO 4217 currency that accounts can be held in."
        raise InvalidValue("unknown_currency", message)
    return value


def parse_uuid_text(value: object) -> str:
    """A UUID as canonical text."""
    if type(value) is not str or not _UUID.fullmatch(value):
        raise InvalidValue("invalid_uuid", "The value must be a UUID.")
    return value.lower()


def parse_uuid(value: object) -> UUID:
    """A UUID, in its canonical form alone."""
    return value if type(value) is UUID else UUID(parse_uuid_text(value))


def text_parser(longest: int, shortest: int = 0) -> Callable[[object], str]:
    """Text trimmed and in NFC, of ``shortest`` to ``longest`` characters; no control characters.

    A text in which nothing can be seen is empty.
    """
    too_long = ("too_long", f"The text must have at most {longest} characters.")
    at_least = "not be empty" if shortest == 1 else f"have at least {shortest} characters"
    too_short = ("too_short", f"The text must {at_least}.")

    def check(value: object) -> str:
        if type(value) is not str:
            raise InvalidValue(*NOT_A_STRING)
        if len(value) > 4 * longest:  # before the work of normalising
            raise InvalidValue(*too_long)
        text = value.strip()
        if not (text.isascii() and text.isprintable()):
            text = unicodedata.normalize("NFC", text)
            if _CONTROLS.search(text):
                raise InvalidValue(
                    "control_character", "The text must not have control characters."
                )
            if is_blank(text):
                text = ""
        if len(text) > longest:
            raise InvalidValue(*too_long)
        if len(text) < shortest:
            raise InvalidValue(*too_short)
        return text

    return check


_metadata_key: Final = text_parser(MAX_METADATA_KEY_LENGTH, 1)
_metadata_text: Final = text_parser(MAX_METADATA_VALUE_LENGTH)


def parse_metadata(value: object) -> dict[str, str]:
    """Up to 20 texts of the client's own, by keys of up to 40 characters."""
    if type(value) is not dict:
        raise InvalidValue(*NOT_AN_OBJECT)
    if len(value) > MAX_METADATA_KEYS:
        raise InvalidValue("too_many", f"There must be at most {MAX_METADATA_KEYS} keys.")
    clean: dict[str, str] = {}
    for key, text in value.items():
        try:
            name = _metadata_key(key)
            if name in clean:
                raise InvalidValue("duplicate_key", "Two keys are the same when trimmed.")
            clean[name] = _metadata_text(text)
        except InvalidValue as broken:
            raise InvalidValue(broken.code, broken.message, (key,)) from None
    return clean


def parse_boolean(value: object) -> bool:
    """The JSON values true and false."""
    if type(value) is not bool:
        raise InvalidValue(*NOT_A_BOOLEAN)
    return value


def parse_query_boolean(value: object) -> bool:
    """The words ``true`` and ``false`` in a query."""
    if value not in ("true", "false"):
        raise InvalidValue(*NOT_A_BOOLEAN)
    return value == "true"


def parse_integer(value: object, lowest: int, highest: int) -> int:
    """A JSON integer within bounds."""
    if type(value) is not int:
        raise InvalidValue(*NOT_AN_INTEGER)
    if not lowest <= value <= highest:
        raise InvalidValue("out_of_range", f"The value must be from {lowest} to {highest}.")
    return value


def parse_query_integer(value: object, lowest: int, highest: int) -> int:
    """Plain decimal digits in a query, within bounds."""
    if type(value) is not str or not _DIGITS.fullmatch(value):
        raise InvalidValue(*NOT_AN_INTEGER)
    return parse_integer(int(value), lowest, highest)


def parse_date(value: object) -> date:
    """A date, ``YYYY-MM-DD``."""
    try:
        if type(value) is str and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass  # a day that the calendar does not have
    raise InvalidValue("invalid_date", "The value must be a date, YYYY-MM-DD.")


def parse_month(value: object) -> date:
    """A month, ``YYYY-MM``, as its first day."""
    try:
        if type(value) is str and _MONTH.fullmatch(value):
            return date.fromisoformat(value + "-01")
    except ValueError:
        pass  # a month that the calendar does not have
    raise InvalidValue("invalid_month", "The value must be a month, YYYY-MM.")


def parse_instant(value: object) -> int:
    """An RFC 3339 instant as microseconds since 1970."""
    try:
        if type(value) is str and _INSTANT.fullmatch(text := value.upper()):
            return from_datetime(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError):
        pass  # a time that no calendar has
    message = f"The value must be {AN_INSTANT}."
    raise InvalidValue("invalid_instant", message)
