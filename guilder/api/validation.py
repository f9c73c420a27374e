"""FastAPI's validation errors, in our words: a stable code, a pointer, never the value.

Pydantic's own messages can repeat what was sent, so none of them is passed on. What a rule of
``fields`` has refused brings its own code and message, which are fixed texts.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from guilder.api import fields
from guilder.api.problems import MAX_FIELDS
from guilder.core.errors import FieldError, Invalid, NotFound, Place, Refusal

MAX_NAME_LENGTH: Final = 64

_OUT_OF_RANGE: Final = ("out_of_range", "The value is out of range.")
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": fields.REQUIRED,
    "extra_forbidden": fields.UNKNOWN_FIELD,
    "literal_error": fields.NOT_A_CHOICE,
    "enum": fields.NOT_A_CHOICE,
    "string_too_short": ("too_short", "The text is too short."),
    "string_too_long": ("too_long", "The text is too long."),
    "too_short": fields.TOO_FEW,
    "too_long": fields.TOO_MANY,
    "greater_than": _OUT_OF_RANGE,
    "greater_than_equal": _OUT_OF_RANGE,
    "less_than": _OUT_OF_RANGE,
    "less_than_equal": _OUT_OF_RANGE,
    "string_type": fields.NOT_A_STRING,
    "int_type": fields.NOT_AN_INTEGER,
    "int_from_float": fields.NOT_AN_INTEGER,
    "int_parsing": fields.NOT_AN_INTEGER,
    "bool_type": fields.NOT_A_BOOLEAN,
    "bool_parsing": fields.NOT_A_BOOLEAN,
    "list_type": fields.NOT_AN_ARRAY,
    "dict_type": fields.NOT_AN_OBJECT,
    "model_type": fields.NOT_AN_OBJECT,
    "model_attributes_type": fields.NOT_AN_OBJECT,
}
_PLACES: Final = {"query": Place.QUERY, "header": Place.HEADER}
_ANY: Final = ("invalid", "The value is not valid.")


def read_body[M: BaseModel](model: type[M], document: object) -> M:
    """The document as a model, for lean endpoints. Raises ``Invalid`` as FastAPI's routes do."""
    try:
        return model.model_validate(_worth_naming(model, document))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise Invalid(
            fields=tuple(_field(each["loc"], each) for each in found[:MAX_FIELDS])
        ) from None


def _worth_naming(model: type[BaseModel], document: object) -> object:
    """The document without unknown members that no problem would name: each costs an error."""
    if type(document) is not dict or len(document) <= len(model.model_fields) + MAX_FIELDS:
        return document
    known = {field.alias or name for name, field in model.model_fields.items()}
    unknown = islice((name for name in document if name not in known), MAX_FIELDS)
    kept = known.intersection(document).union(unknown)
    return {name: value for name, value in document.items() if name in kept}


def refusal_of(error: RequestValidationError) -> Refusal:
    """The refusal for a validation error: ``Invalid``.

    A malformed path parameter is ``NotFound``.
    """
    errors: Sequence[Mapping[str, Any]] = error.errors()
    if any(found["loc"][:1] == ("path",) for found in errors):
        return NotFound()
    return Invalid(
        fields=tuple(
            _field(each["loc"][1:], each, _PLACES.get(each["loc"][0], Place.BODY))
            for each in errors[:MAX_FIELDS]
        )
    )


def _field(
    path: tuple[str | int, ...], found: Mapping[str, Any], place: Place = Place.BODY
) -> FieldError:
    kind, context = found["type"], found.get("ctx") or {}
    code, message = _WORDS.get(kind, _ANY)
    if fields.BROKEN_RULE in context:
        path = (*path, *context["below"])
        code, message = kind, context[fields.BROKEN_RULE]
    return FieldError(pointer(path) if place is Place.BODY else str(path[0]), code, message, place)


def pointer(place: Sequence[str | int]) -> str:
    """The RFC 6901 pointer of a place; a name that is too long to be a field's is cut."""
    parts = (str(part)[:MAX_NAME_LENGTH].replace("~", "~0").replace("/", "~1") for part in place)
    return "".join("/" + part for part in parts)
