"""The audit trail's part of ``verify``: the chain from its first row to the head.

Pages of rows over one snapshot; memory does not grow with the trail.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from guilder.core.clock import MINUTE_US, iso_instant
from guilder.core.ports import AuditSigner, CannotUnseal, KeyMissing
from guilder.db.audit import FIRST_LINK, audit_chain_hash, content
from guilder.db.unit_of_work import View
from guilder.domains.audit import repository
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
    newest of ``open_attempts``.
    """

    number: int = 0
    chain: str = FIRST_LINK.hex()
    keyed_from: int | None = None
    under_lost_keys: int = 0
    open_attempts: int = 0
    open: list[OpenAttempt] = field(default_factory=list)
    broken: BrokenRow | None = None


async def verify_audit(
    view: View,
    *,
    signer: AuditSigner | None = None,
    anchor: tuple[int, str] | None = None,
    progress: VerifyProgress | None = None,
) -> AuditReport:
    """Check every row of the audit trail in one snapshot, and look for open attempts.

    With a ``signer`` rows have to carry keys, from the first that does. ``anchor`` is a number and
    its hash as an earlier report gave them.
    """
    report = AuditReport()
    link = _Links(report, signer).next
    progress = progress or (lambda _name, _count: None)
    report.broken = await _chain(view, report, link, anchor, progress)
    if report.broken is None and signer is not None and report.number and not report.keyed_from:
        report.broken = BrokenRow("audit_events", "1", "no row carries a key")
    if report.broken is None:
        await _open_attempts(view, report)
    return report


class _Links:
    """The hash that each row should have, of the hash before and its MAC."""

    def __init__(self, report: AuditReport, signer: AuditSigner | None) -> None:
        self._report = report
        self._signer = signer

    def next(self, chain: bytes, number: int, row: Any) -> bytes:
        """What the row's hash should be. Raises ``CannotUnseal`` where nobody can tell."""
        told, mac = content(row._mapping), b""
        if row.key_id is None and self._report.keyed_from is not None:
            raise CannotUnseal("it carries no key, and rows before it do")
        if row.key_id is not None:
            if self._signer is None:
                raise KeyMissing(f"it names the key {row.key_id.hex()}, which is not there")
            self._report.keyed_from = self._report.keyed_from or number
            found = self._signer.sign_again(row.key_id, told)
            if found is None:
                self._report.under_lost_keys += 1
                return bytes(row.chain)
            mac = found
        return audit_chain_hash(chain, number, told + mac)


async def _chain(
    view: View,
    report: AuditReport,
    link: Callable[[bytes, int, Any], bytes],
    anchor: tuple[int, str] | None,
    progress: VerifyProgress,
) -> BrokenRow | None:
    """Follow the chain and name the first row that does not fit."""
    number, chain = 0, FIRST_LINK
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
        progress("audit events", number)
    report.number, report.chain = number, chain.hex()
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
