"""What the audit trail does about itself."""

from dataclasses import dataclass
from typing import ClassVar

from guilder.db.audit_archive import delete_through
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.audit import repository
from guilder.domains.audit.errors import ArchivedAlready
from guilder.domains.audit.rules import ARCHIVE_ACTION


@dataclass(frozen=True, slots=True)
class BeginSigning:
    """Let the trail of a bank that is older than its keys have a first row that carries one."""

    action: ClassVar[str] = "audit.begin_signing"


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

    Raises ``ArchivedAlready`` when they are gone.
    """
    if await repository.chain_of(uow, cmd.last) != cmd.chain:
        raise ArchivedAlready()
    gone = await delete_through(uow.connection, cmd.last)
    uow.audit(last=cmd.last, chain=cmd.chain.hex(), rows=gone, file_sha256=cmd.sha256)
