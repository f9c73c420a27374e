"""Idempotency of ordinary commands: the key, a fingerprint of the request, and the first answer.

Keys of money live with the ledger and never expire; these belong to everything else.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Column, Table, bindparam

from guilder.core.errors import IdempotencyConflict, IdempotencyInProgress, Refusal
from guilder.db.arrays import arrays, insert_sql
from guilder.db.base import STRICT, Big, Bytes, Small, metadata, only_changes
from guilder.db.digests import no_digests
from guilder.db.unit_of_work import UnitOfWork

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", Bytes, primary_key=True),
    Column("fingerprint", Bytes, nullable=False),
    Column("status", Small, nullable=False),
    Column("body", Bytes, nullable=False),
    Column("created_at", Big, nullable=False, index=True),
    **only_changes(rows_stay=False),
    **STRICT,
)

no_digests(idempotency_keys, "they repeat an answer and are pruned")


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key and the fingerprint of what it was sent with (16 bytes each).

    ``earlier`` are the fingerprints that the same request had under keys of the bank's that have
    been followed by newer ones.
    """

    digest: bytes
    fingerprint: bytes
    earlier: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client was told: status and the exact body."""

    status: int
    body: bytes


def digest(*parts: str | bytes) -> bytes:
    """16 bytes of BLAKE2b over length-prefixed parts: collisions cannot be built by joining."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(4) + raw)
    return state.digest()


_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(facts: object) -> bytes:
    """16 bytes that are the same for the same request, however it was written down.

    ``facts`` are what is asked for once it has been checked and normalised, as plain values, UUIDs
    and dataclasses; secrets among them only as MACs (``SecretMac``).
    """
    return hashlib.blake2b(_canonical(facts), digest_size=16).digest()


_KEPT: Final = idempotency_keys.select().where(
    idempotency_keys.c.key.in_(bindparam("keys", expanding=True))
)
_KEEP: Final = idempotency_keys.insert()


async def replay(uow: UnitOfWork, keys: Sequence[Key]) -> dict[bytes, Answer | Refusal]:
    """What is known of keys by their digests; this transaction claims the new ones, which miss.

    It is the first answer; ``IdempotencyConflict`` for another request under the key; and, without
    waiting, ``IdempotencyInProgress`` while it is in use.
    """
    asked = {key.digest: key for key in keys}
    busy = await uow.claim(asked)
    known: dict[bytes, Answer | Refusal] = {one: IdempotencyInProgress() for one in busy}
    for row in await uow.all(_KEPT, {"keys": list(asked)}):
        key = asked[row.key]
        is_same = row.fingerprint in (key.fingerprint, *key.earlier)
        known[row.key] = Answer(row.status, row.body) if is_same else IdempotencyConflict()
    return known


async def keep(uow: UnitOfWork, answers: Sequence[tuple[Key, Answer]]) -> None:
    """Store answers in the transaction of what they tell."""
    connection = uow.connection
    rows = [
        {
            "key": key.digest,
            "fingerprint": key.fingerprint,
            "status": answer.status,
            "body": answer.body,
            "created_at": uow.now_us,
        }
        for key, answer in answers
    ]
    if uow.dialect == "postgresql":
        columns = tuple(rows[0])
        sql = insert_sql(idempotency_keys, columns)
        await connection.exec_driver_sql(sql, arrays(rows, columns))
    else:
        await connection.execute(_KEEP, rows)
