"""What the ledger asks of a database: a batch step by step, and the committing of batches."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from guilder.domains.ledger.rules.rows import NewKey
from guilder.domains.ledger.rules.state import (
    Decision,
    Hold,
    LedgerAccount,
    Limit,
    Original,
    StoredKey,
    Unit,
    UnitResult,
)


@dataclass(frozen=True, slots=True)
class Head:
    """The head row as locked: the last number and batch, the bank's clock, and the chain.

    ``clock_us`` is the instant of the last booking. Nothing is booked at or before ``closed_us``.
    """

    last_no: int
    last_batch: int
    clock_us: int
    closed_us: int
    clock_offset_us: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What the end of a batch writes: the batch row, its outbox row, and the new head."""

    id: int
    first_no: int
    last_no: int
    first_booked_at: int
    last_booked_at: int
    nonce: bytes
    chain: bytes


class NotCommitted(Exception):
    """The transaction did not commit and its work can be run again from the start."""


class Books(Protocol):
    """One transaction on the ledger's tables. ``lock`` comes first; what does not exist is absent.

    ``write`` stores rows, balances and head, and raises ``NotCommitted`` when a balance was not at
    the version that was read. ``keep`` stores keys when nothing is booked beside them, and
    ``close_until`` the head's ``closed_us``. ``lapsing`` are open holds on any of the accounts that
    expire by an instant, inclusive.
    """

    async def lock(self) -> Head: ...

    async def keys(self, keys: Collection[bytes]) -> dict[bytes, StoredKey]: ...

    async def refs(
        self, numbers: Collection[int]
    ) -> tuple[dict[int, Hold], dict[int, Original]]: ...

    async def accounts(self, ids: Collection[int]) -> dict[int, LedgerAccount]: ...

    async def lapsing(self, ids: Collection[int], until_us: int) -> list[Hold]: ...

    async def limits(self, ids: Collection[int]) -> dict[int, list[Limit]]: ...

    async def write(self, decision: Decision, batch: Batch) -> None: ...

    async def keep(self, keys: list[NewKey]) -> None: ...

    async def close_until(self, at_us: int) -> None: ...


def no_more() -> None:
    """The batch stays as it is."""


class Store(Protocol):
    """Commits batches for the poster, one at a time, each in a transaction of its own.

    A store that waits for its turn without a thread calls ``more`` when the turn has come: what
    the poster then adds to ``units`` is part of the batch.

    ``commit`` raises ``NotCommitted`` when the work can be run again, ``OutcomeUnknown`` when it
    could not be learned whether the commit took, ``Unavailable`` when there is no database.
    """

    async def commit(
        self, units: list[Unit], more: Callable[[], None] = no_more
    ) -> list[UnitResult]: ...

    async def close(self) -> None: ...
