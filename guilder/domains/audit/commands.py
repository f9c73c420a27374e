"""What the audit trail does about itself."""

from dataclasses import dataclass
from typing import ClassVar

from guilder.db.audit_archive import delete_through
from guilder.db.digest_proof import STOCK_ACTION, StockPosition, carry_digests, take_stock_of
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.audit import repository
from guilder.domains.audit.errors import ArchivedAlready
from guilder.domains.audit.rules import ARCHIVE_ACTION, SIGNING_ACTION


@dataclass(frozen=True, slots=True)
class BeginSigning:
    """Let the trail of a bank that is older than its keys have a first row that carries one."""

    action: ClassVar[str] = SIGNING_ACTION


async def begin_signing(_uow: UnitOfWork, _cmd: BeginSigning) -> None:
    """Leave no more than its own rows in the trail."""


@dataclass(frozen=True, slots=True)
class RemoveArchived:
    """Remove the rows up to ``last``, which has that hash: a file of that SHA-256 has them."""

    action: ClassVar[str] = ARCHIVE_ACTION
    last: int
    chain: bytes
    sha256: str


async def remove_archived(uow: UnitOfWork, cmd: RemoveArchived) -> None:
    """Remove them and leave their anchor in the trail: number and hash of the last one.

    The row of the outcome carries on the digests that they told last.

    Raises ``ArchivedAlready`` when they are gone.
    """
    if await repository.chain_of(uow, cmd.last) != cmd.chain:
        raise ArchivedAlready()
    await carry_digests(uow, cmd.last)
    gone = await delete_through(uow.connection, cmd.last)
    uow.audit(last=cmd.last, chain=cmd.chain.hex(), rows=gone, file_sha256=cmd.sha256)


@dataclass(frozen=True, slots=True)
class TakeStock:
    """Let the trail tell of rows that are older than digests: some of them, after a position."""

    action: ClassVar[str] = STOCK_ACTION
    after: StockPosition = ("", None)


async def take_stock(uow: UnitOfWork, cmd: TakeStock) -> StockPosition | None:
    """Where to go on, None when all has been told."""
    position = await take_stock_of(uow, cmd.after)
    if position is None:
        uow.audit(complete=True)
    return position
