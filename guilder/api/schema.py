"""The wire format's building blocks: strict, bounded models and types, one rule behind each."""

from datetime import date
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from guilder.api import fields
from guilder.api.fields import InvalidValue, Rule
from guilder.core.clock import day_number, day_start
from guilder.core.money import EXPONENTS, MAX_AMOUNT

MAX_OPAQUE_LENGTH: Final = 4096
"""Characters of a cursor or token, of whichever kind; what is given out today is shorter."""


class RequestBody(BaseModel):
    """Base of every body that is read: no unknown fields, no bending of types.

    Fields that must agree with each other are checked by a ``model_validator`` that raises
    ``InvalidValue(...).as_pydantic()``, with the field's name in ``below``.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class ResponseBody(BaseModel):
    """Base of every body that is written.

    Open in the reference, so that a client of today reads the answers of a later version too; the
    tests hold answers against the closed form.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True, hide_input_in_errors=True)


def text_rule(longest: int, shortest: int = 0) -> Rule:
    """Trimmed text in NFC without control characters."""
    schema: dict[str, Any] = {"type": "string", "maxLength": longest, "minLength": shortest}
    if not shortest:
        del schema["minLength"]
    return Rule(fields.text_parser(longest, shortest), schema)


def integer_schema(lowest: int, highest: int) -> dict[str, Any]:
    """The JSON schema of an integer: bounded, and of 64 bits in every client's language."""
    return {"type": "integer", "format": "int64", "minimum": lowest, "maximum": highest}


def integer_rule(lowest: int, highest: int) -> Rule:
    """A JSON integer within bounds."""
    check = partial(fields.parse_integer, lowest=lowest, highest=highest)
    return Rule(check, integer_schema(lowest, highest))


def query_integer_rule(lowest: int, highest: int) -> Rule:
    """Decimal digits in a query, within bounds."""
    check = partial(fields.parse_query_integer, lowest=lowest, highest=highest)
    return Rule(check, integer_schema(lowest, highest))


def written_integer(lowest: int, highest: int, about: str, example: int) -> WithJsonSchema:
    """What an integer that is written is like; ``Annotated`` with it."""
    words = {"description": about, "examples": [example]}
    return WithJsonSchema({**integer_schema(lowest, highest), **words})


_UUID_SCHEMA: Final = {"type": "string", "format": "uuid"}
_INSTANT_SCHEMA: Final = {"type": "string", "format": "date-time"}
_DATE_SCHEMA: Final = {"type": "string", "format": "date"}
_MONTH_SCHEMA: Final = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}
_AMOUNT_SCHEMA: Final = {
    **integer_schema(1, MAX_AMOUNT),
    "description": "The amount, an integer of minor units of the currency: 2500 is 25.00 EUR.",
    "examples": [2500],
}
_METADATA_SCHEMA: Final = {
    "type": "object",
    "maxProperties": fields.MAX_METADATA_KEYS,
    "propertyNames": {"minLength": 1, "maxLength": fields.MAX_METADATA_KEY_LENGTH},
    "additionalProperties": {"type": "string", "maxLength": fields.MAX_METADATA_VALUE_LENGTH},
    "description": "Up to 20 texts of the client's own, by keys of up to 40 characters.",
    "examples": [{"order": "A-1027"}],
}
_CURRENCY_SCHEMA: Final = {
    "type": "string",
    "enum": sorted(EXPONENTS),
    "description": "The ISO 4217 code of a currency that accounts can be held in. The list follows "
    "the standard: codes come and go with it.",
    "examples": ["EUR"],
}

Amount = Annotated[int, Rule(fields.parse_amount, _AMOUNT_SCHEMA)]
type Currency = Annotated[str, Rule(fields.parse_currency, _CURRENCY_SCHEMA)]
"""A ``type`` statement makes a component of the reference, by its own name."""
Text255 = Annotated[str, text_rule(255)]
Reference64 = Annotated[str, text_rule(64)]
Name100 = Annotated[str, text_rule(100, shortest=1)]
Metadata = Annotated[dict[str, str], Rule(fields.parse_metadata, _METADATA_SCHEMA)]
Uuid = Annotated[UUID, Rule(fields.parse_uuid, _UUID_SCHEMA)]
UuidText = Annotated[str, Rule(fields.parse_uuid_text, _UUID_SCHEMA)]
"""A UUID in a body that stays text: for where it is only looked up."""
Boolean = Annotated[bool, Rule(fields.parse_boolean, {"type": "boolean"})]
Day = Annotated[date, Rule(fields.parse_date, _DATE_SCHEMA)]
InstantInput = Annotated[int, Rule(fields.parse_instant, _INSTANT_SCHEMA)]
"""An instant that is read: RFC 3339 outside, microseconds since 1970 inside."""

QueryBoolean = Annotated[bool, Rule(fields.parse_query_boolean, {"type": "boolean"})]
QueryText = Annotated[str, text_rule(100)]
QueryAmount = Annotated[int, query_integer_rule(1, MAX_AMOUNT)]
QueryMonth = Annotated[date, Rule(fields.parse_month, _MONTH_SCHEMA)]

A_RANGES_EDGE: Final = "an RFC 3339 instant with `Z` or an offset, or a date in UTC"
_EDGE_SCHEMA: Final = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}],
    "description": A_RANGES_EDGE[0].upper() + A_RANGES_EDGE[1:] + ".",
}


def _edge(value: object, days_more: int) -> int:
    if type(value) is str and len(value) == len("2026-01-31"):
        return day_start(day_number(fields.parse_date(value)) + days_more)
    try:
        return fields.parse_instant(value)
    except InvalidValue as broken:
        message = f"The value must be a date, or {fields.AN_INSTANT}."
        raise InvalidValue(broken.code, message) from None


type RangeStart = Annotated[int, Rule(lambda value: _edge(value, 0), _EDGE_SCHEMA)]
"""The first instant of a range: an instant, or a date for its first instant."""
type RangeEnd = Annotated[int, Rule(lambda value: _edge(value, 1), _EDGE_SCHEMA)]
"""The end of a range: an instant that is no longer in it, or a date that wholly is."""

Instant = Annotated[str, WithJsonSchema(_INSTANT_SCHEMA)]
"""An instant that is written: RFC 3339 with ``Z``."""

Exponent = Annotated[
    int,
    written_integer(0, 4, "Decimal digits of the currency's minor unit: EUR 2, JPY 0, KWD 3.", 2),
]
Money = Annotated[
    int,
    written_integer(
        -MAX_AMOUNT, MAX_AMOUNT, "A balance, an integer of minor units of the currency.", 125_000
    ),
]
Sum = Annotated[
    int,
    written_integer(0, MAX_AMOUNT, "A sum, an integer of minor units of the currency.", 40_000),
]
Count = Annotated[int, written_integer(0, MAX_AMOUNT, "How many there are.", 12)]
