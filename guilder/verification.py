"""What ``guilder verify`` looks at and what it says: ledger, audit trail and guards, one snapshot.

Open attempts are told and are no breach: a process that was killed leaves one, and nothing of what
it did was kept.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guilder.core.clock import SystemClock, iso_instant
from guilder.core.ports import AuditSigner
from guilder.db.digest_proof import DigestTrail
from guilder.db.engine import Database, is_sqlite, sqlite_path
from guilder.db.guards import broken_guard
from guilder.db.migrate import expect_current
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.audit.verify import AuditReport, verify_audit
from guilder.domains.identity.queries import count_users
from guilder.domains.ledger.queries import last_booked_at
from guilder.domains.ledger.verify import BrokenRow, Report, verify_ledger
from guilder.tables import metadata

type Anchor = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Verification:
    """Both reports, the first guard of the database that is not as it was made, and its size.

    ``rows`` have digests in the trail; ``row`` is the first of them that is not what they say.

    Users and last booking tell a bank from an empty or an old copy of it.
    """

    books: Report
    audit: AuditReport
    guard: BrokenRow | None
    rows: int
    row: BrokenRow | None
    users: int
    last_booked_at: str | None

    @property
    def broken(self) -> BrokenRow | None:
        """What does not hold, first of the books, then of the audit trail, then a guard."""
        return self.books.broken or self.audit.broken or self.row or self.guard

    @property
    def needs_key(self) -> bool:
        """Whether a key that was not given is all that is wrong: nobody can tell what holds."""
        others = self.books.broken or self.row or self.guard
        return self.audit.missing_key is not None and others is None

    def document(self) -> dict[str, Any]:
        """For machines: the ledger's report, the audit trail's under ``audit``, and the guard."""
        return {
            "holds": self.broken is None,
            **asdict(self.books),
            "broken": None if self.broken is None else asdict(self.broken),
            "audit": asdict(self.audit),
            "guard": None if self.guard is None else asdict(self.guard),
            "rows": self.rows,
            "row": None if self.row is None else asdict(self.row),
            "users": self.users,
            "last_booked_at": self.last_booked_at,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from self._verdict()
        yield f"Users: {self.users}. Last booking: {self.last_booked_at or 'none'}."
        if not self.users and not self.books.transfers:
            yield "THIS BANK IS EMPTY: it has no users and no transfers. Is it the one you mean?"

    def _rows(self) -> Iterator[str]:
        if self.row is not None:
            yield f"A row is not as the audit trail has it: {_named(self.row)}"
        elif self.rows:
            yield f"Rows that the audit trail tells of, all as it has them: {self.rows}"

    def _verdict(self) -> Iterator[str]:
        books, audit = self.books, self.audit
        if books.broken is None:
            yield f"The books hold: {books.transfers} transfers in {books.batch} batches,"
            yield f"{books.accounts} accounts. Anchor: {books.batch}:{books.chain}"
        else:
            yield f"The books are broken: {_named(books.broken)}"
        yield from self._rows()
        if self.guard is not None:
            yield f"History is not guarded: {_named(self.guard)}"
        if audit.broken is not None and audit.missing_key is not None:
            where = f"{audit.broken.table} {audit.broken.key}"
            yield f"The audit trail cannot be checked from {where} on:"
            yield f"it names the key {audit.missing_key}, which was not given. Give the bank's own"
            yield "GUILDER_ENCRYPTION_KEY, or GUILDER_DATA_DIR with the `keys` that it is in;"
            yield "`guilder keys list` shows the names of those that it is given."
            return
        if audit.broken is not None:
            yield f"The audit trail is broken: {_named(audit.broken)}"
            return
        yield f"The audit trail holds: {audit.number - audit.archived} rows."
        if audit.archived:
            checked = f"{audit.in_files} of them were checked" if audit.in_files else "not checked"
            yield f"Rows up to {audit.archived} are in archives, {checked}."
        if audit.keyed_from is not None and audit.keyed_from > audit.archived + 1:
            yield f"Rows before {audit.keyed_from} carry no key: only an anchor proves them."
        if audit.under_lost_keys:
            yield f"Rows under lost keys, whose content nothing proves: {audit.under_lost_keys}"
        yield f"Audit anchor: {audit.number}:{audit.chain}"
        if audit.open_attempts:
            yield f"Attempts without an outcome, of which nothing was kept: {audit.open_attempts}"
        for one in audit.open:
            request = f", request {one.request_id}" if one.request_id else ""
            yield f"  {one.at} {one.action} by {one.actor} (row {one.number}{request})"


async def verify_database(
    url: str,
    signer_of: Callable[[], AuditSigner] | None = None,
    anchor: Anchor | None = None,
    audit_anchor: Anchor | None = None,
    progress: Callable[[str, int], None] | None = None,
    archives: Sequence[Path] = (),
) -> Verification:
    """Check the whole database; with ``signer_of`` the audit trail's keys, too.

    Raises ``FileNotFoundError`` when there is none, ``NewerDatabase`` and ``OlderDatabase`` when it
    is not of this version: what is not known cannot be found to hold.
    """
    if is_sqlite(url) and not sqlite_path(url).exists():
        raise FileNotFoundError(f"there is none at {sqlite_path(url)}")

    signer = None if signer_of is None else signer_of()

    async def check(view: View) -> Verification:
        return await verify_view(view, signer, anchor, audit_anchor, progress, archives)

    database = Database(url)
    try:
        async with database.view() as connection:
            await connection.run_sync(expect_current)
        return await Runner(database, SystemClock()).view(check)
    finally:
        await database.close()


async def verify_view(
    view: View,
    signer: AuditSigner | None = None,
    anchor: Anchor | None = None,
    audit_anchor: Anchor | None = None,
    progress: Callable[[str, int], None] | None = None,
    archives: Sequence[Path] = (),
) -> Verification:
    """Check everything through one view."""
    books = await verify_ledger(view, anchor=anchor, progress=progress)
    trail, rows = DigestTrail(), 0
    audit = await verify_audit(
        view,
        signer=signer,
        anchor=audit_anchor,
        progress=progress,
        archives=archives,
        digests=trail,
    )
    if audit.broken is None:
        rows = await trail.compare(view)
    guard = await broken_guard(view, metadata.tables.values())
    booked_at = await last_booked_at(view)
    return Verification(
        books,
        audit,
        None if guard is None else BrokenRow(*guard),
        rows,
        None if trail.broken is None else BrokenRow(*trail.broken),
        await count_users(view),
        None if booked_at is None else iso_instant(booked_at),
    )


def _named(broken: BrokenRow) -> str:
    return f"{broken.table} {broken.key}: {broken.problem}"
