"""The audit trail: what was attempted, by whom, and how it ended.

Rows are numbered without gaps and each carries the SHA-256 of the row before and of itself, so that
none can be changed, taken out or put in unseen. The hash covers a MAC of the row that is stored
nowhere and whose key the database does not hold, so that the database alone cannot make one.
``audit_head`` holds the last number and hash: whoever appends locks it, as the last thing before
the commit, so nobody who holds it waits.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Insert,
    Table,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.core.actor import Actor
from guilder.core.ports import AuditSigner
from guilder.db.arrays import arrays, arrays_sql
from guilder.db.base import (
    APPEND_ONLY,
    STRICT,
    Big,
    Bytes,
    Guid,
    Small,
    String,
    metadata,
    only_changes,
)
from guilder.db.digests import NOTHING_CHANGED, no_digests

_HAS_SUBJECT: Final = text("subject IS NOT NULL")
_FAILED: Final = text("phase = 'failed'")

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=False),
    Column("at", Big, nullable=False),
    Column("attempt_id", Guid, nullable=False, index=True),
    Column("action", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("session_id", Guid),
    Column("subject", String),
    Column("code", String),
    Column("request_id", String, nullable=False),
    Column("ip_address", String, nullable=False),
    Column("detail", String),
    Column("chain", Bytes, nullable=False),
    Column("key_id", Bytes),
    Column("digests", String),
    CheckConstraint("phase IN ('attempted', 'succeeded', 'failed')", name="phase"),
    Index(None, "at", "id"),
    Index(None, "actor", "at", "id"),
    Index(None, "action", "at", "id"),
    Index(
        None, "subject", "at", "id", sqlite_where=_HAS_SUBJECT, postgresql_where=_HAS_SUBJECT
    ),
    Index("ix_audit_events_failed", "at", "id", sqlite_where=_FAILED, postgresql_where=_FAILED),
    **APPEND_ONLY,
    **STRICT,
)  # fmt: skip

audit_head = Table(
    "audit_head",
    metadata,
    Column("lane", Small, primary_key=True, autoincrement=False),
    Column("last_id", Big, nullable=False),
    Column("chain", Bytes, nullable=False),
    Column("digest_key", Bytes),
    CheckConstraint("lane = 0", name="single"),
    **only_changes("last_id", "chain"),
    **STRICT,
)

no_digests(audit_events, "they are the trail")
no_digests(audit_head, "it is what the trail ends in")

SQLITE_LINK: Final = "guilder_chain_link"
"""The name of ``audit_chain_hash`` as a function of SQL on SQLite connections that write."""

FIRST_LINK: Final = bytes(32)
"""What the first row is chained to."""

COVERED: Final = (
    "at", "attempt_id", "action", "phase", "actor", "session_id", "subject", "code",
    "request_id", "ip_address", "detail",
)  # fmt: skip
"""The columns that a row's hash covers besides its number. For ever: rows are hashed by it.

Where a row has ``digests`` it covers them, too.
"""


class Phase(StrEnum):
    """ATTEMPTED stands before the command, one of the others after it."""

    ATTEMPTED = "attempted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(slots=True)
class AuditDetails:
    """What a command has told of itself for the row of its outcome."""

    subject: str | None = None
    detail: dict[str, object] = field(default_factory=dict)

    def add(self, subject: object, detail: Mapping[str, object]) -> None:
        """Add details. Raises ``TypeError`` for what is not JSON, and then changes nothing."""
        _json(detail)
        if subject is not None:
            self.subject = str(subject)
        self.detail.update(detail)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One phase of one attempt, as it will stand in the trail."""

    at_us: int
    attempt_id: UUID
    action: str
    phase: Phase
    actor: Actor
    code: str | None = None
    details: AuditDetails = field(default_factory=AuditDetails)
    digests: str | None = None

    def columns(self) -> dict[str, Any]:
        """The values of the columns that are ``COVERED``, and the digests.

        Every success tells these: one that does not is of a trail from before them.
        """
        has_succeeded = self.phase is Phase.SUCCEEDED
        return {
            "at": self.at_us,
            "attempt_id": self.attempt_id,
            "action": self.action,
            "phase": self.phase.value,
            "actor": self.actor.name,
            "session_id": self.actor.session_id,
            "subject": self.details.subject,
            "code": self.code,
            "request_id": self.actor.request_id,
            "ip_address": self.actor.ip_address,
            "detail": _json(self.details.detail) if self.details.detail else None,
            "digests": self.digests or (NOTHING_CHANGED if has_succeeded else None),
        }


def content(columns: Mapping[str, Any]) -> bytes:
    """The canonical form of a row: its covered columns as a JSON array, in order, in ASCII."""
    digests = columns["digests"]
    told = () if digests is None else (digests,)
    return _json([*[columns[name] for name in COVERED], *told]).encode()


def audit_chain_hash(previous: bytes, number: int, row: bytes) -> bytes:
    """SHA-256 of the hash before, the row's number in 8 bytes, and its ``content`` with its MAC."""
    return hashlib.sha256(previous + number.to_bytes(8) + row).digest()


def change_details(
    before: Mapping[str, object], after: Mapping[str, object], show: Collection[str]
) -> dict[str, object]:
    """The detail of a changed row: which fields, and the hash of the whole row before and after.

    The values are told of those fields only that ``show`` names: the trail can never be erased.
    """
    changed = sorted(name for name in after if before[name] != after[name])
    return {
        "changed": {n: [before[n], after[n]] if n in show else None for n in changed},
        "hash_before": _row_hash(before),
        "hash_after": _row_hash(after),
    }


async def append(
    connection: AsyncConnection, entries: Sequence[AuditEntry], signer: AuditSigner | None = None
) -> None:
    """Add rows to the trail of this transaction; call it last, for it locks the trail's head.

    The MACs go to the database only to be hashed: each holds for its row and nowhere else.
    """
    rows = [_signed(entry, signer) for entry in entries]
    if connection.dialect.name == "postgresql":
        added = await connection.exec_driver_sql(_POSTGRES_APPEND, arrays(rows, _TOLD))
    else:
        added = await connection.execute(_SQLITE_APPEND, rows)
    if added.rowcount != len(rows):
        raise RuntimeError("audit_head has no row")


def _signed(entry: AuditEntry, signer: AuditSigner | None) -> dict[str, Any]:
    columns = entry.columns()
    row = content(columns)
    key, mac = (None, b"") if signer is None else signer.sign(row)
    return {**columns, "key_id": key, "content": row + mac}


_GIVEN: Final = (*COVERED, "digests", "key_id")
_TOLD: Final = (*_GIVEN, "content")


def _postgres_append() -> str:
    """Lock the head, hash from row to row, write them and move the head on, in one statement.

    A second transaction waits for the lock and then goes on from the head as the first left it.
    """
    given, content_ = ", ".join(_GIVEN), f"${len(_TOLD)}::bytea[]"
    return f"""
WITH RECURSIVE head AS (
  SELECT last_id, chain FROM audit_head WHERE lane = 0 FOR UPDATE
), links (place, number, chain) AS (
  SELECT 0, last_id, chain FROM head
  UNION ALL
  SELECT place + 1, number + 1, sha256(chain || int8send(number + 1) || ({content_})[place + 1])
    FROM links
   WHERE place < cardinality({content_})
), moved AS (
  UPDATE audit_head SET last_id = number, chain = last.chain
    FROM (SELECT number, chain FROM links ORDER BY place DESC LIMIT 1) last
   WHERE lane = 0
)
INSERT INTO audit_events (id, {given}, chain)
SELECT number, {given}, chain
  FROM links JOIN unnest({arrays_sql(audit_events, _GIVEN)}) WITH ORDINALITY
       AS told ({given}, place) USING (place)
 ORDER BY place"""  # noqa: S608 - names of columns


def _sqlite_append() -> Insert:
    """Hash and write a row; a trigger moves the head on. There is one writer at a time."""
    number = audit_head.c.last_id + 1
    row = bindparam("content", type_=Bytes)
    chain = getattr(func, SQLITE_LINK)(audit_head.c.chain, number, row)
    given = [bindparam(name, type_=audit_events.c[name].type) for name in _GIVEN]
    return audit_events.insert().from_select(
        ["id", *_GIVEN, "chain"], select(number, *given, chain)
    )


def _plain(value: object) -> str:
    """Ids as text. Raises ``TypeError`` for whatever else is not JSON."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot stand in the audit trail")


_json: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True, default=_plain).encode


def _row_hash(row: Mapping[str, object]) -> str:
    return hashlib.sha256(_json(row).encode()).hexdigest()


_POSTGRES_APPEND: Final = _postgres_append()
_SQLITE_APPEND: Final = _sqlite_append()
