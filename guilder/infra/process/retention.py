"""Settings of how long something is kept, see ``docs/reference/retention.md``."""

from typing import Any

from pydantic import Field


def kept_field(default: int, about: str) -> Any:
    """The field of a time, in the unit that its name says; never none at all."""
    return Field(default, ge=1, le=3_650, description=f"{about} See [retention](retention.md).")
