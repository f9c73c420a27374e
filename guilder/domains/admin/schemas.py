"""The wire format of administration."""

from typing import Any, Literal
from uuid import UUID

from guilder.api.schema import Instant, ResponseBody


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
