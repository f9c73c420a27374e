"""The wire format of the audit trail."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from guilder.api.schema import Count, Instant, ResponseBody
from guilder.core.clock import iso_instant
from guilder.domains.audit.rules import AuditEvent

type AttemptPhase = Annotated[
    Literal["attempted", "succeeded", "failed"],
    Field(description="An attempt is `attempted` first, then it has `succeeded` or `failed`."),
]


class AuditEventOut(ResponseBody):
    """``actor`` is `user:` and an id, `anonymous` or `system`; ``number`` is as `verify` names it.

    Both phases of an attempt have its ``attempt_id``. ``detail`` differs from action to action.
    """

    id: UUID = Field(description="The row's id.")
    number: Count = Field(description="The row's place in the chain, as `verify` names it.")
    at: Instant = Field(description="When it was written.")
    attempt_id: UUID = Field(description="The attempt; both phases have it.")
    action: str = Field(description="What was attempted.", examples=["session.open"])
    phase: AttemptPhase = Field(
        description="Whether it began or how it ended.", examples=["succeeded"]
    )
    actor: str = Field(
        description="Who: `user:` and an id, `anonymous` or `system`.", examples=["anonymous"]
    )
    session_id: UUID | None = Field(description="The session in which they acted.")
    subject: str | None = Field(
        description="The id of what it was about.",
        examples=["0198c6ba-7c1a-7000-8000-0000000000aa"],
    )
    code: str | None = Field(description="The code of what failed.", examples=[None])
    request_id: str = Field(description="The request's id.", examples=["5f0c9a3e000000000042"])
    ip_address: str = Field(description="Where it came from.", examples=["203.0.113.7"])
    detail: dict[str, Any] | None = Field(
        description="More about it; differs from action to action.", examples=[None]
    )


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
