"""Reads of the audit trail."""

import re
from typing import Final

from guilder.core.actor import Actor
from guilder.core.errors import Forbidden, InvalidCursor
from guilder.core.page import Page, PageRequest, paginate
from guilder.core.permissions import Permission
from guilder.db.unit_of_work import View
from guilder.domains.audit import repository
from guilder.domains.audit.rules import AuditEvent, AuditFilter

_CURSOR: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")


async def list_audit_events(
    view: View, actor: Actor, wanted: AuditFilter, page: PageRequest
) -> Page[AuditEvent]:
    """A page of the audit trail, newest first.

    Raises ``Forbidden`` unless the actor may read it.
    """
    if not actor.has_permission(Permission.AUDIT_READ):
        raise Forbidden()
    before = _instant_and_number(page)
    rows = await repository.newest_events(view, wanted, before, page.limit + 1, page.offset)
    return paginate(rows, page, lambda event: f"{event.at}.{event.number}")


async def trail_lacks_keys(view: View) -> bool:
    """Whether there are rows and the last of them carries no key."""
    return await repository.trail_lacks_keys(view)


def _instant_and_number(page: PageRequest) -> tuple[int, int] | None:
    if page.after is None:
        return None
    found = _CURSOR.fullmatch(page.after)
    if found is None:
        raise InvalidCursor()
    return int(found[1]), int(found[2])
