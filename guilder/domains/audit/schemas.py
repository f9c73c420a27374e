"""The wire format of the audit trail."""

from typing import Any, Literal
from uuid import UUID

from guilder.api.schema import Instant, ResponseBody
from guilder.core.clock import iso_instant
from guilder.domains.audit.rules import AuditEvent


class AuditEventOut(ResponseBody):
    """``actor`` is `user:` and an id, `anonymous` or `system`; ``number`` is as `verify` names it.

    Both phases of an attempt have its ``attempt_id``. ``detail`` differs from action to action.
    """

    id: UUID
    number: int
    at: Instant
    attempt_id: UUID
    action: str
    phase: Literal["attempted", "succeeded", "failed"]
    actor: str
    session_id: UUID | None
    subject: str | None
    code: str | None
    request_id: str
    ip_address: str
    detail: dict[str, Any] | None


def audit_event_body(event: AuditEvent) -> dict[str, Any]:
    """An event in its wire form."""
    return {
        "id": event.id,
        "number": event.number,
        "at": iso_instant(event.at),
        "attempt_id": event.attempt_id,
        "action": event.action,
        "phase": event.phase,
        "actor": event.actor,
        "session_id": event.session_id,
        "subject": event.subject,
        "code": event.code,
        "request_id": event.request_id,
        "ip_address": event.ip_address,
        "detail": event.detail,
    }
