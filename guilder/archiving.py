"""What ``guilder audit archive`` does: the oldest part of the audit trail goes into a file.

It is checked there, and then removed from the database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guilder.core.actor import SYSTEM
from guilder.core.ports import AuditSigner
from guilder.db.audit_archive import ArchiveHead, ArchiveWriter, InvalidArchive, file_sha256
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.audit import repository
from guilder.domains.audit.commands import RemoveArchived, remove_archived
from guilder.domains.audit.verify import ArchiveChecker

MOST_ROWS: Final = 250_000
"""Rows of one file: they are removed in one transaction, and every command waits for it."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What went into a file; ``last`` and ``chain`` are its anchor. There may be more to move."""

    first: int
    last: int
    chain: str
    sha256: str
    has_more: bool


class TrailArchiver:
    """Takes old rows out of the trail; ``runner`` has the rights of the tables' owner."""

    def __init__(self, runner: Runner, signer: AuditSigner) -> None:
        self._runner = runner
        self._signer = signer

    async def archive(
        self, path: Path, before_us: int, progress: Callable[[str, int], None]
    ) -> Archived | None:
        """Move the rows of before an instant into a new file; None when there are none.

        Raises ``InvalidArchive`` when the file cannot be written, or does not hold: then nothing is
        removed.
        """
        youngest = await self._runner.view(repository.last_before, before_us)
        first, before = await self._runner.view(repository.beginning)
        last = min(youngest, first + MOST_ROWS - 1)
        if last < first:
            return None
        try:
            chain, sha256 = await self._write(path, ArchiveHead(first, before), last, progress)
        except OSError as error:
            raise InvalidArchive(f"it cannot be written: {error.strerror or error}") from error
        await self._runner.run(remove_archived, RemoveArchived(last, chain, sha256), SYSTEM)
        return Archived(first, last, chain.hex(), sha256, has_more=last < youngest)

    async def _write(
        self, path: Path, head: ArchiveHead, last: int, progress: Callable[[str, int], None]
    ) -> tuple[bytes, str]:
        """Write the file and check it; the hash of its last row, and its SHA-256."""
        with ArchiveWriter(path, head) as writer:
            await self._runner.view(_copy, writer, last, progress)
            writer.end()
            checker = ArchiveChecker(self._signer)
            if broken := checker.check([writer.partial]):
                raise InvalidArchive(f"row {broken.key}: {broken.problem}")
            if checker.number != last:
                raise InvalidArchive("rows are missing")
            sha256 = file_sha256(writer.partial)
            writer.publish()
        return checker.chain, sha256


async def _copy(
    view: View, writer: ArchiveWriter, last: int, progress: Callable[[str, int], None]
) -> None:
    done = 0
    async for rows in repository.every_event(view, last):
        for row in rows:
            writer.add(row)
        done += len(rows)
        progress("rows archived", done)
