"""The wire format of the bank's test clock."""

from typing import Annotated, Any, Final, Self

from pydantic import model_validator

from guilder.api.fields import InvalidValue
from guilder.api.schema import Instant, InstantInput, RequestBody, ResponseBody, integer_rule
from guilder.core.clock import SECOND_US, iso_instant

MAX_ADVANCE_SECONDS: Final = 3_155_760_000
"""A hundred years."""


class ClockSet(RequestBody):
    """Exactly one of ``now`` and ``advance_seconds``."""

    now: InstantInput | None = None
    advance_seconds: Annotated[int, integer_rule(0, MAX_ADVANCE_SECONDS)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.now is None) == (self.advance_seconds is None):
            message = "Give either now or advance_seconds."
            raise InvalidValue("required", message, ("now",)).as_pydantic()
        return self


class ClockOut(ResponseBody):
    """The bank's time, and how far it is from the real one."""

    now: Instant
    offset_seconds: int


def clock_body(now_us: int, real_us: int) -> dict[str, Any]:
    """The bank's time in its wire form; ``real_us`` is the real one."""
    offset = (now_us - real_us + SECOND_US // 2) // SECOND_US
    return {"now": iso_instant(now_us), "offset_seconds": offset}
