"""The audit trail over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from guilder.api.auth import requires
from guilder.api.compression import compressed
from guilder.api.deps import TheRunner
from guilder.api.openapi import refusals
from guilder.api.pagination import PageOut, PageQuery, page_body
from guilder.api.replies import Reply, json_response
from guilder.api.schema import A_RANGES_EDGE, QueryText, RangeEnd, RangeStart
from guilder.core.actor import Actor
from guilder.core.errors import Forbidden
from guilder.core.permissions import Permission
from guilder.domains.audit import queries
from guilder.domains.audit.rules import AuditFilter
from guilder.domains.audit.schemas import AttemptPhase, AuditEventOut, audit_event_body

Auditor = Annotated[Actor, requires(Permission.AUDIT_READ)]

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/audit-events", response_model=PageOut[AuditEventOut], responses=refusals(Forbidden))
@compressed
async def list_audit_events(
    auditor: Auditor,
    runner: TheRunner,
    page: PageQuery,
    actor: Annotated[
        QueryText | None, Query(description="Who: `user:` and an id, `anonymous` or `system`.")
    ] = None,
    action: Annotated[QueryText | None, Query(description="Such as `session.open`.")] = None,
    phase: Annotated[
        AttemptPhase | None, Query(description="Only what began, succeeded or failed.")
    ] = None,
    subject: Annotated[
        QueryText | None, Query(description="The id of what the command was about.")
    ] = None,
    from_: Annotated[
        RangeStart | None, Query(alias="from", description=f"At or after this: {A_RANGES_EDGE}.")
    ] = None,
    to: Annotated[
        RangeEnd | None,
        Query(description=f"Before this instant, or on this date or before: {A_RANGES_EDGE}."),
    ] = None,
) -> Reply:
    """The audit trail, newest first: who attempted what, and how it ended.

    All filters can be combined; a range that ends before it starts is no error and has no
    rows. A list up to an instant that is over may gain rows for a minute:
    `at` is when something was told, and it is seen once it is committed. `number` follows the
    commits: go by it to copy the trail without gaps.
    """
    wanted = AuditFilter(actor, action, phase, subject, from_, to)
    found = await runner.view(queries.list_audit_events, auditor, wanted, page)
    return json_response(200, page_body(found, audit_event_body))
