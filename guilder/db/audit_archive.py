"""Files that the oldest part of the audit trail is kept in: JSON lines, compressed by gzip.

The first line says what it is, the number of its first row and the hash of the row before. Then
come the rows as they stood in ``audit_events``. The last line has the last row's number and hash.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.db.append_only import sqlite_triggers
from guilder.db.audit import COVERED, audit_events

ARCHIVE_FORMAT: Final = "guilder audit archive 1"
_HASHES: Final = ("chain", "key_id")


class InvalidArchive(Exception):
    """The file is no archive, or not a whole one. Says what is wrong."""


class ArchiveHead(NamedTuple):
    """The number of the first row, and the hash of the row before it."""

    first: int
    before: bytes


class ArchivedRow(NamedTuple):
    """A row of the trail from a file; ids are text, as in ``COVERED`` columns that are hashed."""

    id: int
    columns: dict[str, Any]
    chain: bytes
    key_id: bytes | None
    action: str


class ArchiveWriter:
    """Writes a new archive beside its name, and gives it that name once it is whole and checked.

    Raises ``FileExistsError`` for a name that is taken. Without ``publish`` nothing is left.
    """

    def __init__(self, path: Path, head: ArchiveHead) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._head = head
        self._last = (head.first - 1, head.before)
        self._raw: IO[bytes] | None = None
        self._file: gzip.GzipFile | None = None

    def __enter__(self) -> Self:
        if self.path.exists():
            raise FileExistsError(f"{self.path} is there already")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        self._raw = os.fdopen(os.open(self.partial, flags, 0o600), "wb")
        self._file = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)
        first, before = self._head
        self._line({"archive": ARCHIVE_FORMAT, "first": first, "before": before.hex()})
        return self

    def add(self, row: Any) -> None:
        """Write a raw row of the trail."""
        told = {"id": row.id} | {name: getattr(row, name) for name in (*COVERED, "digests")}
        key = None if row.key_id is None else bytes(row.key_id).hex()
        self._line({**told, "chain": bytes(row.chain).hex(), "key_id": key})
        self._last = (row.id, bytes(row.chain))

    def end(self) -> None:
        """Write the last line, and see to it that all is on the disk."""
        number, chain = self._last
        self._line({"last": number, "chain": chain.hex()})
        assert self._file is not None
        assert self._raw is not None
        self._file.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())

    def publish(self) -> None:
        """Give the file its name. Raises ``FileExistsError`` when that was taken meanwhile."""
        os.link(self.partial, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        if self._raw is not None:
            with suppress(OSError):
                self._raw.close()
            self.partial.unlink(missing_ok=True)

    def _line(self, value: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")


def archive_head(path: Path) -> ArchiveHead:
    """Where an archive begins. Raises ``InvalidArchive``, or ``OSError`` without the file."""
    head = next(_lines(path), {})
    if head.get("archive") != ARCHIVE_FORMAT:
        raise InvalidArchive("it is no archive of an audit trail")
    return ArchiveHead(int(head["first"]), bytes.fromhex(head["before"]))


def archived_rows(path: Path) -> Iterator[ArchivedRow]:
    """The rows of an archive. Raises ``InvalidArchive`` for one that is bent or cut off."""
    head = archive_head(path)
    last = (head.first - 1, head.before)
    lines = _lines(path)
    next(lines)
    for line in lines:
        if "last" in line:
            if (line["last"], bytes.fromhex(line["chain"])) != last or next(lines, None):
                raise InvalidArchive("its last line does not fit its rows")
            return
        try:
            chain, key = bytes.fromhex(line["chain"]), line["key_id"]
            columns = {name: line[name] for name in COVERED} | {"digests": line.get("digests")}
            row = ArchivedRow(
                int(line["id"]), columns, chain, key and bytes.fromhex(key), line["action"]
            )
        except (KeyError, ValueError, TypeError):
            raise InvalidArchive("a line of it is no row") from None
        last = (row.id, chain)
        yield row
    raise InvalidArchive("its end is missing")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except (gzip.BadGzipFile, EOFError, ValueError):
        raise InvalidArchive("it cannot be read to its end") from None


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def delete_through(connection: AsyncConnection, number: int) -> int:
    """Delete the rows up to a number, as the owner of the tables, and tell how many those were.

    The trigger that refuses it is off for this transaction, and in nobody else's view.
    """
    table = audit_events.name
    if connection.dialect.name == "sqlite":
        name = f"{table}_no_delete"
        off, on = f"DROP TRIGGER {name}", sqlite_triggers(table)[name]
    else:
        off, on = (f"ALTER TABLE {table} {verb} TRIGGER {table}_is_final"
                   for verb in ("DISABLE", "ENABLE"))  # fmt: skip
    await connection.execute(text(off))
    gone = await connection.execute(audit_events.delete().where(audit_events.c.id <= number))
    await connection.execute(text(on))
    return gone.rowcount
