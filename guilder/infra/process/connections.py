"""How many connections there may be: of one address, and of all within the descriptors there are.

When there is no room, the connection goes that has waited longest: for its client to ask something,
or to read what it was answered. Only where all are at work nobody new comes in.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from guilder.infra.process.descriptors import most_connections

MOST_OF_ONE: Final = 500


class Closable(Protocol):
    """A connection, as far as it is counted here."""

    def abort(self) -> None:
        """Close it, whatever is still to be sent."""


class ConnectionBounds:
    """Counts connections in and out; ``shared`` says which addresses many clients come from.

    There are at most ``most``, or as many as there are descriptors for, and of one address at most
    ``most_of_one`` and half of all.
    """

    def __init__(
        self,
        most: int | None = None,
        most_of_one: int = MOST_OF_ONE,
        key_of: Callable[[str], str] = str,
        shared: Callable[[str], bool] = lambda _address: False,
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._key_of = key_of
        self._shared = shared
        self._of: dict[Closable, str] = {}
        self._by_key: Counter[str] = Counter()
        self._waiting: dict[Closable, None] = {}

    def enter(self, connection: Closable, address: str) -> str | None:
        """Let a new connection in, whose ``leave`` is to be called; or tell why not."""
        key, most = self._key_of(address), self._most or most_connections()
        most_of_one = max(1, min(self._most_of_one, most // 2))
        if self._by_key[key] >= most_of_one and not self._shared(address):
            return f"{most_of_one} of one address are open"
        if len(self._of) >= most and not self._make_room():
            return f"{most} are open, and more would leave no file"
        self._of[connection] = key
        self._by_key[key] += 1
        return None

    def leave(self, connection: Closable) -> None:
        """A connection is over; one that did not come in is no matter."""
        self._waiting.pop(connection, None)
        key = self._of.pop(connection, None)
        if key is not None:
            self._by_key[key] -= 1
            if not self._by_key[key]:
                del self._by_key[key]

    def waits(self, connection: Closable, *, waiting: bool) -> None:
        """Whether a connection waits for its client; from then on it may have to go."""
        if not waiting:
            self._waiting.pop(connection, None)
        elif connection in self._of:
            self._waiting.setdefault(connection)

    def _make_room(self) -> bool:
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        self.leave(longest)
        longest.abort()
        return True
