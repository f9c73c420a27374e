"""How many values a sound body can hold, read off the schema of its model."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter

from guilder.api.examples import Schema
from guilder.api.json_gate import MAX_VALUES

FREE_VALUES: Final = 100
"""For an object or an array whose schema says nothing of its size."""
SPARE_VALUES: Final = MAX_VALUES
"""On top, so that a body with some members or items too many is told which they are."""


@cache
def most_values_of(model: Any) -> int:
    """The most values that a body read as ``model`` may hold before it is refused unread."""
    schema = TypeAdapter(model).json_schema()
    return values_in(schema, schema.get("$defs", {})) + SPARE_VALUES


def values_in(schema: Schema, definitions: Mapping[str, Schema]) -> int:
    """The most values that a sound document of this schema holds, itself among them."""
    if (ref := schema.get("$ref")) is not None:
        return values_in(definitions[ref.rpartition("/")[2]], definitions)
    choices = [values_in(one, definitions) for one in schema.get("anyOf", ())]
    if choices:
        return max(choices)
    match schema.get("type"):
        case "array":
            most = schema.get("maxItems")
            return (
                FREE_VALUES if most is None else 1 + most * values_in(schema["items"], definitions)
            )
        case "object" if "properties" in schema:
            return 1 + sum(values_in(one, definitions) for one in schema["properties"].values())
        case "object":
            most = schema.get("maxProperties")
            return FREE_VALUES if most is None else 1 + int(most)
        case _:
            return 1
