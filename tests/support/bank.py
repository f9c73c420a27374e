"""A small bank to hurt: accounts opened through the ledger's own commands, postings with names.

A posting's *name* is its key and its reference at once, so the books themselves tell whether
anything was booked twice.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from guilder.core.actor import SYSTEM
from guilder.core.clock import Clock, SystemClock
from guilder.db.engine import Database, is_sqlite
from guilder.db.idempotency import digest
from guilder.db.run import Runner
from guilder.domains.ledger.commands import (
    Category,
    EnsureBankAccounts,
    OpenLedgerAccount,
    ensure_bank_accounts,
    open_ledger_account,
)
from guilder.domains.ledger.ports import Store
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, PostingResult, Unit, UnitResult
from guilder.domains.ledger.store.postgres import PostgresStore
from guilder.domains.ledger.store.sqlite import SqliteStore

ASSET = "USD"

type Row = tuple[str, int, int, int, int, int, str | None]
"""A result as plain values; ``replayed`` reads as ``created``, for the two must be equal."""


@dataclass(frozen=True)
class Bank:
    """Customers with ``funded`` between them; they pay each other, so the sum never changes."""

    url: str
    customers: tuple[int, ...]
    settlement: int
    funded: int


@dataclass(frozen=True)
class Reply:
    """What a client was told about one named unit."""

    name: str
    rows: tuple[Row, ...]

    @property
    def accepted(self) -> bool:
        return any(row[1] for row in self.rows)


def key_of(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def named(name: str, postings: Sequence[Posting], *, atomic: bool = False) -> Unit:
    """A unit that is posted once under its name: one keyed posting, or a keyed unit of several."""
    legs = [replace(p, reference=f"{name}/{i}") for i, p in enumerate(postings)]
    fingerprint = digest(repr([(p.debit, p.credit, p.amount, p.kind, p.ref) for p in legs]))
    if len(legs) == 1:
        return Unit([replace(legs[0], key=key_of(name), fingerprint=fingerprint)])
    return Unit(legs, atomic=atomic, key=key_of(name), fingerprint=fingerprint, label=name)


def row_of(result: PostingResult) -> Row:
    status = "rejected" if result.refusal is not None else "created"
    code = None if result.refusal is None else result.refusal.code
    return (
        status, result.number, result.booked_at, result.amount, result.debit_after,
        result.credit_after, code,
    )  # fmt: skip


def reply_of(name: str, outcome: UnitResult) -> Reply:
    return Reply(name, tuple(row_of(result) for result in outcome.results))


async def open_bank(
    url: str, *, customers: int = 8, each: int = 1_000_000, clock: Clock | None = None
) -> Bank:
    """Open the accounts and fund every customer from settlement."""
    clock = clock or SystemClock()
    database = Database(url)
    runner = Runner(database, clock)
    now = clock.now_us()
    own = await runner.run(ensure_bank_accounts, EnsureBankAccounts(ASSET, now), SYSTEM)
    numbers = []
    for index in range(customers):
        command = OpenLedgerAccount(ASSET, Category.LIABILITY, f"customer {index}", now)
        numbers.append((await runner.run(open_ledger_account, command, SYSTEM)).number)
    await database.close()
    poster = Poster(open_store(url, clock))
    poster.start()
    deposits = [Posting(own["settlement"], number, each, ASSET) for number in numbers]
    outcome = await poster.submit(named("funding", deposits, atomic=True))
    assert all(result.status == "created" for result in outcome.results)
    await poster.stop()
    return Bank(url, tuple(numbers), own["settlement"], each * customers)


def open_store(url: str, clock: Clock, **options: Any) -> Store:
    """The store of either engine."""
    if is_sqlite(url):
        return SqliteStore(url, clock)
    return PostgresStore(url, clock, **options)
