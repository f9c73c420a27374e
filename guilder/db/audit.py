"""The audit trail: what was attempted, by whom, and how it ended."""

from enum import StrEnum

from sqlalchemy import Column, Identity, Insert, Table

from guilder.core.actor import Actor
from guilder.db.base import STRICT, Big, Guid, String, metadata

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at", Big, nullable=False),
    Column("attempt_id", Guid, nullable=False, index=True),
    Column("action", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("subject", String),
    Column("code", String),
    Column("request_id", String, nullable=False),
    Column("ip_address", String, nullable=False),
    **STRICT,
)


class Phase(StrEnum):
    """ATTEMPTED stands before the command, one of the others after it."""

    ATTEMPTED = "attempted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


def insert_audit(
    actor: Actor, action: str, phase: Phase, attempt_id: object, at_us: int, **more: str | None
) -> Insert:
    """The statement that stores one phase; ``more`` holds ``subject`` and ``code``."""
    return audit_events.insert().values(
        at=at_us,
        attempt_id=attempt_id,
        action=action,
        phase=phase.value,
        actor=actor.name,
        request_id=actor.request_id,
        ip_address=actor.ip_address,
        **more,
    )
