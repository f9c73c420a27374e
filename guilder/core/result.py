"""``Ok | Err``: the value of a decision that can be refused."""

from dataclasses import dataclass
from typing import Never

from guilder.core.errors import Refusal


@dataclass(frozen=True, slots=True)
class Ok[T]:
    """The decision holds; ``value`` is its result."""

    value: T

    def unwrap(self) -> T:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Err[R: Refusal]:
    """The decision was refused; ``refusal`` says why."""

    refusal: R

    def unwrap(self) -> Never:
        """Raise the very refusal that is carried."""
        raise self.refusal
