"""How many bytes of bodies this process holds, so that nobody fills its memory with them."""

from collections import Counter
from typing import Final

from guilder.core.errors import Overloaded

UNCOUNTED_BYTES: Final = 16_384
"""Of each body: what any request may bring. How many of them there are is the server's to bound."""
AT_ONCE_BYTES: Final = 262_144
"""What the server may read from a connection before it looks at the others."""
MOST_BYTES: Final = 12_000_000
MOST_BYTES_OF_ONE: Final = 8_500_000
"""Of one caller: one of the largest bodies, and room for others' ordinary batches beside it."""


class HeldBytes:
    """The bytes of large bodies from their arrival to the answer, finished or not."""

    def __init__(self) -> None:
        self._by_caller: Counter[str] = Counter()
        self._all = 0

    def take(self, caller: str, count: int) -> None:
        """Hold more bytes of a caller's. Raises ``Overloaded`` when that would be too many."""
        if self._all + count > MOST_BYTES or self._by_caller[caller] + count > MOST_BYTES_OF_ONE:
            raise Overloaded()
        self._all += count
        self._by_caller[caller] += count

    def give_back(self, caller: str, count: int) -> None:
        """Hold so many bytes less."""
        self._all -= count
        self._by_caller[caller] -= count
        if not self._by_caller[caller]:
            del self._by_caller[caller]
