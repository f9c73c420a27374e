"""Work that is done again and again in the background."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from guilder.core.parts import Parts


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do again and again, the next time so long after the last has ended.

    Several processes may do it at once: doing it twice does no harm.
    """

    name: str
    interval_seconds: float
    work: Callable[[Parts], Coroutine[Any, Any, object]]
