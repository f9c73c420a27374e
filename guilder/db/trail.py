"""Rows of the audit trail that are committed by themselves: those that arrive together, at once.

A row of an attempt stands before its command begins, so a command waits for a commit that has
nothing else in it: here it is shared.
"""

from collections.abc import Sequence

from guilder.core.clock import Clock
from guilder.core.errors import Unavailable
from guilder.core.ports import AuditSigner
from guilder.db.audit import AuditEntry, append
from guilder.db.engine import Database, raise_translated, translated
from guilder.db.gathering import Gatherer
from guilder.db.health import touch

type _Told = tuple[AuditEntry, ...]


class Trail:
    """Commits rows of the trail in transactions of their own, see ``Gatherer``."""

    def __init__(self, database: Database, clock: Clock, signer: AuditSigner | None) -> None:
        self._database = database
        self._clock = clock
        self._signer = signer
        self._gatherer: Gatherer[_Told, None] = Gatherer(self._write)

    async def tell(self, *entries: AuditEntry) -> None:
        """Add rows, one behind the other, and return once they are committed.

        Without any it takes as long as with one, and a row is changed that is there anyway.
        """
        try:
            await self._gatherer.submit(entries)
        except Exception as error:  # noqa: BLE001 - raised again
            raise_translated(error)

    async def drain(self) -> None:
        """Wait until all that was told is committed."""
        await self._gatherer.drain()

    async def _write(self, told: list[_Told]) -> Sequence[Exception | None]:
        """Commit all at once; where that fails for what some tell, each by itself."""
        try:
            await self._commit([entry for entries in told for entry in entries])
        except Exception as error:  # noqa: BLE001 - answered to whom it concerns
            if len(told) == 1:
                return [error]
            if isinstance(translated(error), Unavailable):
                return [unavailable(error) for _ in told]
            return [(await self._write([one]))[0] for one in told]
        return [None] * len(told)

    async def _commit(self, entries: list[AuditEntry]) -> None:
        async with self._database.single() as connection:
            if entries:
                await append(connection, entries, self._signer)
            else:
                await connection.execute(touch(self._clock))


def unavailable(cause: BaseException) -> Unavailable:
    """A refusal of its own for every waiter: a raised exception collects its raiser's frames."""
    refusal = Unavailable()
    refusal.__cause__ = cause
    return refusal
