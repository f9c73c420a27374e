"""What the audit trail does about itself."""

from dataclasses import dataclass
from typing import ClassVar

from guilder.db.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class BeginSigning:
    """Let the trail of a bank that is older than its keys have a first row that carries one."""

    action: ClassVar[str] = "audit.begin_signing"


async def begin_signing(_uow: UnitOfWork, _cmd: BeginSigning) -> None:
    """Leave no more than its own rows in the trail."""
