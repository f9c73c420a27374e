"""What ``guilder verify`` looks at and what it says: the ledger and the audit trail, one snapshot.

Open attempts are told and are no breach: a process that was killed leaves one, and nothing of what
it did was kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from guilder.core.clock import SystemClock
from guilder.db.engine import Database, is_sqlite, sqlite_path
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.audit.verify import AuditReport, verify_audit
from guilder.domains.ledger.verify import BrokenRow, Report, verify_ledger

type Anchor = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Verification:
    """Both reports."""

    books: Report
    audit: AuditReport

    @property
    def broken(self) -> BrokenRow | None:
        """The first row that does not hold, of the books before the audit trail."""
        return self.books.broken or self.audit.broken

    def document(self) -> dict[str, Any]:
        """For machines: the ledger's report, and the audit trail's under ``audit``."""
        return {
            "holds": self.broken is None,
            **asdict(self.books),
            "broken": None if self.broken is None else asdict(self.broken),
            "audit": asdict(self.audit),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        books, audit = self.books, self.audit
        if books.broken is None:
            yield f"The books hold: {books.transfers} transfers in {books.batch} batches,"
            yield f"{books.accounts} accounts. Anchor: {books.batch}:{books.chain}"
        else:
            yield f"The books are broken: {_named(books.broken)}"
        if audit.broken is not None:
            yield f"The audit trail is broken: {_named(audit.broken)}"
            return
        yield f"The audit trail holds: {audit.number} rows."
        yield f"Audit anchor: {audit.number}:{audit.chain}"
        if audit.open_attempts:
            yield f"Attempts without an outcome, of which nothing was kept: {audit.open_attempts}"
        for one in audit.open:
            request = f", request {one.request_id}" if one.request_id else ""
            yield f"  {one.at} {one.action} by {one.actor} (row {one.number}{request})"


async def verify_database(
    url: str,
    anchor: Anchor | None = None,
    audit_anchor: Anchor | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Verification:
    """Check the whole database. Raises ``FileNotFoundError`` when there is none."""
    if is_sqlite(url) and not sqlite_path(url).exists():
        raise FileNotFoundError(f"there is none at {sqlite_path(url)}")

    async def check(view: View) -> Verification:
        books = await verify_ledger(view, anchor=anchor, progress=progress)
        return Verification(books, await verify_audit(view, anchor=audit_anchor, progress=progress))

    database = Database(url)
    try:
        return await Runner(database, SystemClock()).view(check)
    finally:
        await database.close()


def _named(broken: BrokenRow) -> str:
    return f"{broken.table} {broken.key}: {broken.problem}"
