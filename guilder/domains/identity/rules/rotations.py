"""Rotations after a breach as plain values."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

FIRST_VERSION: Final = 1
"""Of the sessions and tokens of a bank that has never had a rotation."""
MAX_GRACE_SECONDS: Final = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Rotation:
    """From ``effective_at`` on, sessions and tokens of a lower version are refused.

    It is about one user, or about everybody when ``user_id`` is None. Versions are one series: a
    rotation has a higher one than any before it, whomever that was about.
    """

    version: int
    user_id: UUID | None
    reason: str
    made_by: str
    created_at: int
    effective_at: int

    @property
    def id(self) -> UUID | None:
        """Whom it is about: the subject in the audit trail."""
        return self.user_id
