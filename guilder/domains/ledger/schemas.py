"""The wire format of the bank's test clock."""

from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, model_validator

from guilder.api.fields import InvalidValue
from guilder.api.schema import (
    Instant,
    InstantInput,
    RequestBody,
    ResponseBody,
    integer_rule,
    written_integer,
)
from guilder.core.clock import SECOND_US, iso_instant
from guilder.core.money import MAX_AMOUNT

MAX_ADVANCE_SECONDS: Final = 3_155_760_000
"""A hundred years."""


class ClockSet(RequestBody):
    """Exactly one of ``now`` and ``advance_seconds``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"advance_seconds": 86_400}]})

    now: InstantInput | None = Field(None, description="The time that the bank shall have.")
    advance_seconds: Annotated[int, integer_rule(0, MAX_ADVANCE_SECONDS)] | None = Field(
        None, description="By how many seconds its time shall move on."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.now is None) == (self.advance_seconds is None):
            message = "Give either now or advance_seconds."
            raise InvalidValue("required", message, ("now",)).as_pydantic()
        return self


class ClockOut(ResponseBody):
    """The bank's time, and how far it is from the real one."""

    now: Instant = Field(description="The bank's time.")
    offset_seconds: Annotated[
        int,
        written_integer(
            -MAX_AMOUNT, MAX_AMOUNT, "How far it is ahead of the real time, in seconds.", 86_400
        ),
    ]


def clock_body(now_us: int, real_us: int) -> dict[str, Any]:
    """The bank's time in its wire form; ``real_us`` is the real one."""
    offset = (now_us - real_us + SECOND_US // 2) // SECOND_US
    return {"now": iso_instant(now_us), "offset_seconds": offset}
