"""Every SQL statement that reads the audit trail."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, String, cast, func, literal_column, select, tuple_

from guilder.db.audit import COVERED, FIRST_LINK, Phase, audit_events, audit_head
from guilder.db.base import Guid
from guilder.db.unit_of_work import View
from guilder.domains.audit.rules import ARCHIVE_ACTION, AuditEvent, AuditFilter

EVENTS_PER_PAGE: Final = 1_000

_C: Final = audit_events.c
_EVENT: Final = (_C.id, *[_C[name] for name in COVERED])
# Written out, not bound: else PostgreSQL's generic plans do not know that the partial index fits.
_FAILED: Final[ColumnElement[str]] = literal_column("'failed'")


async def newest_events(
    view: View, wanted: AuditFilter, before: tuple[int, int] | None, count: int, offset: int
) -> list[AuditEvent]:
    """Events, the newest first, on from the instant and number ``before``."""
    statement = select(*_EVENT)
    if wanted.actor is not None:
        statement = statement.where(_C.actor == wanted.actor)
    if wanted.action is not None:
        statement = statement.where(_C.action == wanted.action)
    if wanted.phase is not None:
        phase = _FAILED if wanted.phase == Phase.FAILED else wanted.phase
        statement = statement.where(_C.phase == phase)
    if wanted.subject is not None:
        statement = statement.where(_C.subject == wanted.subject)
    if wanted.from_us is not None:
        statement = statement.where(_C.at >= wanted.from_us)
    if wanted.to_us is not None:
        statement = statement.where(_C.at < wanted.to_us)
    if before is not None:
        statement = statement.where(tuple_(_C.at, _C.id) < before)
    statement = statement.order_by(_C.at.desc(), _C.id.desc()).limit(count).offset(offset)
    return [_event(row) for row in await view.all(statement)]


async def every_event(view: View, last: int | None = None) -> AsyncIterator[Sequence[Any]]:
    """Pages of raw rows by number, up to ``last``.

    Ids come as text, so that a bent one is seen as it stands.
    """
    raw = [
        cast(_C[name], String).label(name) if isinstance(_C[name].type, Guid) else _C[name]
        for name in COVERED
    ]
    statement = (
        select(_C.id, *raw, _C.chain, _C.key_id, _C.digests).order_by(_C.id).limit(EVENTS_PER_PAGE)
    )
    if last is not None:
        statement = statement.where(_C.id <= last)
    after = None
    while True:
        rows = await view.all(statement if after is None else statement.where(_C.id > after))
        if rows:
            yield rows
            after = rows[-1].id
        if len(rows) < EVENTS_PER_PAGE:
            return


async def trail_lacks_keys(view: View) -> bool:
    """Whether there are rows and the last of them carries no key."""
    last = await view.first(select(_C.key_id).order_by(_C.id.desc()).limit(1))
    return last is not None and last.key_id is None


async def chain_of(view: View, number: int) -> bytes | None:
    """The hash of a row, None where there is none of that number."""
    found = await view.scalar(select(_C.chain).where(_C.id == number))
    return None if found is None else bytes(found)


async def last_before(view: View, instant: int) -> int:
    """The number up to which every row is older than an instant; 0 when there is none."""
    younger = await view.scalar(select(func.min(_C.id)).where(_C.at >= instant))
    if younger is not None:
        return int(younger) - 1
    return int(await view.scalar(select(func.max(_C.id))) or 0)


async def archive_mark(view: View) -> tuple[int, bytes] | None:
    """Number and hash of the last row that was moved into a file, as the trail itself tells them.

    Whoever asks has to follow the chain to where it is told: only that proves it.
    """
    row = await view.first(
        select(_C.detail)
        .where(_C.action == ARCHIVE_ACTION, _C.phase == Phase.SUCCEEDED.value)
        .order_by(_C.at.desc(), _C.id.desc())
        .limit(1)
    )
    return None if row is None else read_mark(row.detail)


async def beginning(view: View) -> tuple[int, bytes]:
    """The number of the first row, and the hash of the one before it, which a file holds."""
    mark = await archive_mark(view)
    return (1, FIRST_LINK) if mark is None else (mark[0] + 1, mark[1])


def read_mark(detail: str | None) -> tuple[int, bytes] | None:
    """What a row about an archive tells of its last row; None for one that tells nothing."""
    try:
        told = json.loads(detail or "")
        return int(told["last"]), bytes.fromhex(told["chain"])
    except (ValueError, KeyError, TypeError):
        return None


async def audit_trail_head(view: View) -> Any:
    """The last number and hash as the head has them, None without a head."""
    return await view.first(select(audit_head))


async def open_attempts(view: View, before_us: int, most: int) -> tuple[int, list[AuditEvent]]:
    """How many attempts from before an instant have no outcome, and the newest of them."""
    outcome = audit_events.alias()
    is_open = (
        ~select(outcome.c.id)
        .where(outcome.c.attempt_id == _C.attempt_id, outcome.c.phase != Phase.ATTEMPTED.value)
        .exists()
    )
    conditions = (_C.phase == Phase.ATTEMPTED.value, _C.at < before_us, is_open)
    count = await view.scalar(select(func.count()).select_from(audit_events).where(*conditions))
    if not count:
        return 0, []
    newest = select(*_EVENT).where(*conditions).order_by(_C.at.desc(), _C.id.desc())
    return count, [_event(row) for row in await view.all(newest.limit(most))]


def _event(row: Row[Any]) -> AuditEvent:
    return AuditEvent(
        row.id,
        row.at,
        row.attempt_id,
        row.action,
        row.phase,
        row.actor,
        row.session_id,
        row.subject,
        row.code,
        row.request_id,
        row.ip_address,
        None if row.detail is None else json.loads(row.detail),
    )
