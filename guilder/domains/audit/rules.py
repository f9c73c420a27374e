"""What an operator sees, and how events are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

ARCHIVE_ACTION: Final = "audit.archive"
"""What the trail says where its beginning was moved into a file."""

SIGNING_ACTION: Final = "audit.begin_signing"
"""What the first row that carries a key is where rows without one come before it."""

_VERSION_AND_VARIANT: Final = 7 << 76 | 0b10 << 62


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A row of the audit trail. ``number`` is its place in the chain, from 1 without gaps."""

    number: int
    at: int
    attempt_id: UUID
    action: str
    phase: str
    actor: str
    session_id: UUID | None
    subject: str | None
    code: str | None
    request_id: str
    ip_address: str
    detail: Mapping[str, object] | None

    @property
    def id(self) -> UUID:
        """A UUIDv7 made of the instant and the number: the same one whenever it is asked for."""
        return UUID(int=self.at // 1000 << 80 | _VERSION_AND_VARIANT | self.number)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What is wanted of the trail; None is all. ``to_us`` is the first instant after."""

    actor: str | None = None
    action: str | None = None
    phase: str | None = None
    subject: str | None = None
    from_us: int | None = None
    to_us: int | None = None
