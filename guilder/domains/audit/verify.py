"""The audit trail's part of ``verify``: the chain from its first row to the head.

Pages of rows over one snapshot; memory does not grow with the trail. Where its beginning was moved
into files, the chain goes on from the anchor that the newest row about that tells; that row is in
the chain itself. The files are followed, too, when they are given.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from guilder.core.clock import MINUTE_US, iso_instant
from guilder.core.ports import AuditSigner, CannotUnseal, KeyMissing
from guilder.db.audit import FIRST_LINK, Phase, audit_chain_hash, content
from guilder.db.audit_archive import InvalidArchive, archive_head, archived_rows
from guilder.db.digest_proof import DigestTrail
from guilder.db.unit_of_work import View
from guilder.domains.audit import repository
from guilder.domains.audit.rules import ARCHIVE_ACTION, SIGNING_ACTION
from guilder.domains.ledger.verify import BrokenRow, VerifyProgress

MAX_LISTED_ATTEMPTS: Final = 20
"""Open attempts that are named; all are counted."""


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt that has had no outcome for a minute: nothing that it did was kept."""

    number: int
    at: str
    action: str
    actor: str
    request_id: str


@dataclass(slots=True)
class AuditReport:
    """What was found; ``broken`` is None when the trail holds.

    ``chain`` is the hash of the last row: kept elsewhere with its ``number``, it proves later that
    the trail up to there is still what it was. Rows from ``keyed_from`` on cannot be made by who
    has the database alone, but for those under keys that are lost for good. ``open`` names the
    newest of ``open_attempts``. Rows up to ``archived`` are in files, of which ``in_files``
    were checked. Where ``missing_key`` is one, ``broken`` is the first row that names it: whether
    that row and those behind it are what they were, nobody can tell without the key.
    """

    number: int = 0
    archived: int = 0
    in_files: int = 0
    chain: str = FIRST_LINK.hex()
    keyed_from: int | None = None
    under_lost_keys: int = 0
    missing_key: str | None = None
    open_attempts: int = 0
    open: list[OpenAttempt] = field(default_factory=list)
    broken: BrokenRow | None = None


async def verify_audit(
    view: View,
    *,
    signer: AuditSigner | None = None,
    anchor: tuple[int, str] | None = None,
    progress: VerifyProgress | None = None,
    archives: Sequence[Path] = (),
    digests: DigestTrail | None = None,
) -> AuditReport:
    """Check every row of the audit trail in one snapshot, and look for open attempts.

    With a ``signer`` rows have to carry keys, from the first that does. ``anchor`` is a number and
    its hash as an earlier report gave them. ``archives`` are files that older rows are in.
    ``digests`` is told every row of the database.
    """
    report = AuditReport()
    progress = progress or (lambda _name, _count: None)
    report.archived, begins = await _beginning(view)
    links = _Links(report, signer, digests)
    report.broken = _archives(report, links, archives, begins, anchor)
    if report.broken is None:
        report.broken = await _chain(view, report, links.next, begins, anchor, progress)
    has_rows = report.number > report.archived
    if report.broken is None and signer is not None and has_rows and not report.keyed_from:
        report.broken = BrokenRow("audit_events", "1", "no row carries a key")
    if report.broken is None:
        await _open_attempts(view, report)
    return report


async def _beginning(view: View) -> tuple[int, bytes]:
    """The number of the last row that is in a file, and its hash, as the trail tells them."""
    mark = await repository.archive_mark(view)
    return (0, FIRST_LINK) if mark is None else mark


class ArchiveChecker:
    """Follows the chain through files. ``number`` and ``chain`` are those of the last row."""

    def __init__(self, signer: AuditSigner | None, report: AuditReport | None = None) -> None:
        self.number = 0
        self.chain = FIRST_LINK
        self._report = report or AuditReport()
        self._links = _Links(self._report, signer)
        self._seen: dict[int, bytes] = {}

    def check(self, paths: Iterable[Path], points: Iterable[int] = ()) -> BrokenRow | None:
        """The first row that does not fit, or file that is not the next one, None when all do.

        The hashes of the rows of these numbers can be asked for afterwards.
        """
        try:
            heads = sorted((archive_head(path), str(path)) for path in paths)
            wanted = {*points, *(head.first - 1 for head, _ in heads)}
            for index, (head, path) in enumerate(heads):
                before = head.first - 1
                if index == 0:
                    self._seen[before] = head.before
                if self._seen.get(before) != head.before or (not before and any(head.before)):
                    return BrokenRow("archive", path, "it does not go on where another ends")
                if broken := self._follow(Path(path), wanted):
                    return broken
        except InvalidArchive as problem:
            return BrokenRow("archive", "file", str(problem))
        except OSError as error:
            return BrokenRow("archive", str(error.filename), str(error.strerror))
        return None

    def hash_of(self, number: int) -> bytes | None:
        """The hash of a row that was among the ``points``."""
        return self._seen.get(number)

    def _follow(self, path: Path, wanted: set[int]) -> BrokenRow | None:
        head = archive_head(path)
        number, chain = head.first - 1, head.before
        for row in archived_rows(path):
            number += 1
            if row.id != number:
                return BrokenRow(str(path), str(number), "it is missing")
            try:
                chain = self._links.link(chain, number, content(row.columns), row)
            except CannotUnseal as problem:
                return BrokenRow(str(path), str(number), str(problem))
            if chain != row.chain:
                return BrokenRow(str(path), str(number), "the hash does not fit the row")
            if number in wanted:
                self._seen[number] = chain
            self._report.in_files += 1
        self.number, self.chain = number, chain
        self._seen[number] = chain
        return None


def _archives(
    report: AuditReport,
    links: "_Links",
    archives: Sequence[Path],
    begins: bytes,
    anchor: tuple[int, str] | None,
) -> BrokenRow | None:
    """Hold files and an anchor of before the first row against what the trail tells of them."""
    last = report.archived
    points = {last} if anchor is None else {last, anchor[0]}
    checker = ArchiveChecker(links.signer, report)
    if archives and (broken := checker.check(archives, points)):
        return broken
    ends = checker.hash_of(last)
    if archives and ends is None:
        return BrokenRow("archive", str(last), "no file given holds the last archived row")
    if archives and ends != begins:
        return BrokenRow("archive", str(last), "the files are not those of this trail")
    if anchor is not None and 0 < anchor[0] <= last:
        known = begins if anchor[0] == last else checker.hash_of(anchor[0])
        if known is None:
            return BrokenRow("audit_events", str(anchor[0]), "it was archived: give its file")
        if known.hex() != anchor[1].lower():
            return BrokenRow("audit_events", str(anchor[0]), "history differs from the anchor")
    return None


class _Links:
    """The hash that each row should have, of the hash before and its MAC."""

    def __init__(
        self, report: AuditReport, signer: AuditSigner | None, digests: DigestTrail | None = None
    ) -> None:
        self._report = report
        self.signer = signer
        self._bare = False
        self._digests = digests or DigestTrail()

    def next(self, chain: bytes, number: int, row: Any) -> bytes:
        """What a row's hash should be. Raises ``CannotUnseal`` where nobody can tell."""
        hashed = self.link(chain, number, content(row._mapping), row)
        if hashed == row.chain:
            self._digests.follow(number, row)
        return hashed

    def link(self, chain: bytes, number: int, told: bytes, row: Any) -> bytes:
        """The same for a row of that content.

        A trail that is older than its keys has a row that begins with them; otherwise whoever has
        the database could take the keys from all rows, and the bank's next one would cover it up.
        """
        mac = b""
        if row.key_id is None and self._report.keyed_from is not None:
            raise CannotUnseal("it carries no key, and rows before it do")
        if row.key_id is None:
            self._bare = True
        else:
            if self._bare and self._report.keyed_from is None and row.action != SIGNING_ACTION:
                raise CannotUnseal("rows before it carry no key, and it does not begin with them")
            self._report.missing_key = row.key_id.hex()
            if self.signer is None:
                raise KeyMissing(f"it names the key {row.key_id.hex()}, which is not there")
            self._report.keyed_from = self._report.keyed_from or number
            found = self.signer.sign_again(row.key_id, told)
            self._report.missing_key = None
            if found is None:
                self._report.under_lost_keys += 1
                return bytes(row.chain)
            mac = found
        return audit_chain_hash(chain, number, told + mac)


async def _chain(
    view: View,
    report: AuditReport,
    link: Callable[[bytes, int, Any], bytes],
    begins: bytes,
    anchor: tuple[int, str] | None,
    progress: VerifyProgress,
) -> BrokenRow | None:
    """Follow the chain and name the first row that does not fit."""
    number, chain = report.archived, begins
    mark = None
    async for rows in repository.every_event(view):
        for row in rows:
            number += 1
            if row.id != number:
                return _bad_number(row.id, number)
            try:
                chain = link(chain, number, row)
            except CannotUnseal as problem:
                return BrokenRow("audit_events", str(number), str(problem))
            if chain != row.chain:
                return BrokenRow("audit_events", str(number), "the hash does not fit the row")
            if anchor is not None and anchor[0] == number and anchor[1].lower() != chain.hex():
                return BrokenRow("audit_events", str(number), "history differs from the anchor")
            if row.action == ARCHIVE_ACTION and row.phase == Phase.SUCCEEDED.value:
                mark = repository.read_mark(row.detail)
        progress("audit events", number)
    report.number, report.chain = number, chain.hex()
    if (mark or (0, FIRST_LINK)) != (report.archived, begins):
        return BrokenRow("audit_events", "1", "the chain does not tell that it was archived")
    if anchor is not None and anchor[0] > number:
        return BrokenRow("audit_events", str(anchor[0]), "it is missing, the anchor had it")
    return _against_head(await repository.audit_trail_head(view), number, chain)


def _bad_number(found: int, wanted: int) -> BrokenRow:
    if found < wanted:
        return BrokenRow("audit_events", str(found), "it is before the first row")
    return BrokenRow("audit_events", str(wanted), "it is missing")


def _against_head(head: Any, number: int, chain: bytes) -> BrokenRow | None:
    if head is None:
        return BrokenRow("audit_head", "0", "the head is missing")
    if head.last_id > number:
        return BrokenRow("audit_events", str(number + 1), "it is missing, the head knows of it")
    if head.last_id < number:
        return BrokenRow("audit_events", str(head.last_id + 1), "the head does not know of it")
    if head.chain != chain:
        return BrokenRow("audit_head", "0", "the head does not fit the last row")
    return None


async def _open_attempts(view: View, report: AuditReport) -> None:
    """Younger attempts may still be at work."""
    before_us = view.now_us - MINUTE_US
    report.open_attempts, newest = await repository.open_attempts(
        view, before_us, MAX_LISTED_ATTEMPTS
    )
    report.open = [
        OpenAttempt(e.number, iso_instant(e.at), e.action, e.actor, e.request_id) for e in newest
    ]
