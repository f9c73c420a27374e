"""An auditor of its own: reads the whole books in one view and lists everything that is wrong.

It shares no code with the posting engine but the hash of the chain, and none with
``guilder verify``; both must find the books clean.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.db.engine import Database
from guilder.domains.ledger.engine import batch_chain_hash
from guilder.domains.ledger.models import (
    balances,
    batches,
    entries,
    head,
    holds,
    idempotency,
    limits,
    transfers,
)
from guilder.domains.ledger.rules.answers import decode
from tests.support.bank import Reply

MOVES = (1, 3, 4, 7)
OPEN = 0
HOLD, CAPTURES, REVERSAL = 2, (3, 4), 7


@dataclass(frozen=True)
class Books:
    """Every row of the ledger, read in one view."""

    head: Any
    balances: Sequence[Any]
    transfers: Sequence[Any]
    entries: Sequence[Any]
    idempotency: Sequence[Any]
    holds: Sequence[Any]
    limits: Sequence[Any]
    batches: Sequence[Any]
    outbox: Sequence[str]


async def read_books(url: str) -> Books:
    database = Database(url)
    try:
        async with database.view() as connection:
            return await read_through(connection)
    finally:
        await database.close()


async def read_through(c: AsyncConnection) -> Books:
    async def rows(table: Table) -> Sequence[Any]:
        return (await c.execute(table.select().order_by(*table.primary_key.columns))).all()

    posted = text("SELECT payload FROM outbox WHERE stream = 'ledger' ORDER BY id")
    return Books(
        head=(await c.execute(head.select())).one(),
        balances=await rows(balances),
        transfers=await rows(transfers),
        entries=await rows(entries),
        idempotency=await rows(idempotency),
        holds=await rows(holds),
        limits=await rows(limits),
        batches=await rows(batches),
        outbox=(await c.scalars(posted)).all(),
    )


def problems(books: Books) -> list[str]:
    """Everything that is wrong with the books, each named by its row."""
    return [
        problem
        for check in (_numbers, _entries, _balances, _floors, _chain, _keys, _holds, _reversals)
        for problem in check(books)
    ]


def broken_promises(books: Books, replies: Iterable[Reply]) -> list[str]:
    """Acknowledged transfers that are lost, altered or doubled, and replies that disagree."""
    return [*_doubled(books), *_lost(books, replies)]


def _doubled(books: Books) -> Iterator[str]:
    names = Counter(t.reference for t in books.transfers if t.reference is not None)
    for name, count in names.items():
        if count > 1:
            yield f"{name} was booked {count} times"


def _lost(books: Books, replies: Iterable[Reply]) -> Iterator[str]:
    stored = {t.id: t for t in books.transfers}
    after = {(e.account_id, e.transfer_id): e.balance_after for e in books.entries}
    told: dict[str, tuple[Any, ...]] = {}
    for reply in replies:
        if not reply.accepted:
            continue
        if told.setdefault(reply.name, reply.rows) != reply.rows:
            yield f"{reply.name} was told {told[reply.name]} and then {reply.rows}"
        for leg, (_, number, booked_at, amount, debit_after, credit_after, _) in enumerate(
            reply.rows
        ):
            t = stored.get(number)
            if number == 0:
                continue
            if t is None or t.reference != f"{reply.name}/{leg}":
                yield f"{reply.name}/{leg} was acknowledged as {number} and is not stored"
                continue
            facts = (t.booked_at, t.amount, after[t.debit_account, number],
                     after[t.credit_account, number])  # fmt: skip
            if facts != (booked_at, amount, debit_after, credit_after):
                yield f"{reply.name}/{leg} is stored as {facts}, not as acknowledged"


def _numbers(books: Books) -> Iterator[str]:
    before = 0
    for expected, t in enumerate(books.transfers, 1):
        if t.id != expected:
            yield f"transfer {expected} is missing"
            return
        if t.booked_at <= before:
            yield f"transfer {t.id} is not booked after the one before"
        before = t.booked_at
    if books.head.last_no != len(books.transfers):
        yield f"the head says {books.head.last_no}, there are {len(books.transfers)} transfers"
    if before and books.head.clock_us != before:
        yield "the head's clock is not that of the last transfer"


def _entries(books: Books) -> Iterator[str]:
    wanted = {}
    for t in books.transfers:
        moved = t.amount if t.kind in MOVES else 0
        wanted[t.debit_account, t.id] = (-moved, t.value_on)
        wanted[t.credit_account, t.id] = (moved, t.value_on)
    found = {(e.account_id, e.transfer_id): (e.delta, e.value_on) for e in books.entries}
    for place in sorted(wanted.keys() | found.keys()):
        if wanted.get(place) != found.get(place):
            yield f"entry {place}: {found.get(place)} instead of {wanted.get(place)}"
    running: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for e in books.entries:
        balance, version = running[e.account_id]
        running[e.account_id] = (balance + e.delta, version + 1)
        if (e.balance_after, e.version) != running[e.account_id]:
            yield (
                f"entry {(e.account_id, e.transfer_id)}: balance {e.balance_after} version "
                f"{e.version} instead of {running[e.account_id]}"
            )


def _balances(books: Books) -> Iterator[str]:
    sums: dict[int, list[int]] = defaultdict(lambda: [0] * 5)
    for e in books.entries:
        mine = sums[e.account_id]
        mine[0 if e.delta < 0 else 1] += abs(e.delta)
        mine[4] += 1
    parties = {t.id: t for t in books.transfers}
    for hold in books.holds:
        if hold.state == OPEN and hold.id in parties:
            sums[parties[hold.id].debit_account][2] += hold.remaining
            sums[parties[hold.id].credit_account][3] += hold.remaining
    totals: Counter[str] = Counter()
    for b in books.balances:
        found = [b.debits, b.credits, b.debits_pending, b.credits_pending, b.version]
        if found != sums.pop(b.account_id, [0] * 5):
            yield f"balance {b.account_id}: {found} is not the sum of its entries and holds"
        totals[b.asset] += b.credits - b.debits
    for account in sums:
        yield f"balance {account} is missing"
    for asset, total in totals.items():
        if total:
            yield f"debits and credits of {asset} differ by {total}"


def _floors(books: Books) -> Iterator[str]:
    parties = {t.id: t for t in books.transfers}
    lapsed: Counter[tuple[int, int]] = Counter()  # whose time was over at the last booking
    for hold in books.holds:
        over = hold.expires_at is not None and hold.expires_at <= books.head.clock_us
        if hold.state == OPEN and over and hold.id in parties:
            lapsed[parties[hold.id].debit_account, 1] += hold.remaining
            lapsed[parties[hold.id].credit_account, -1] += hold.remaining
    for b in books.balances:
        held = b.debits_pending if b.normal > 0 else b.credits_pending
        available = (b.credits - b.debits) * b.normal - held + lapsed[b.account_id, b.normal]
        if b.floor is not None and available < b.floor:
            yield f"balance {b.account_id}: {available} available is below the floor {b.floor}"


def _chain(books: Books) -> Iterator[str]:
    chain, last_no = bytes(32), 0
    kept = [k for k in books.idempotency if k.transfer_id is not None]
    kept.sort(key=lambda k: k.transfer_id)
    for expected, b in enumerate(books.batches, 1):
        rows = books.transfers[b.first_no - 1 : b.last_no]
        keys = [tuple(k) for k in kept if b.first_no <= k.transfer_id <= b.last_no]
        chain = batch_chain_hash(chain, [tuple(_plain(v) for v in row) for row in rows], keys)
        if b.id != expected or b.first_no != last_no + 1 or not rows:
            yield f"batch {expected} is missing or overlaps"
            return
        if b.chain != chain:
            yield f"batch {b.id}: the chain is not the hash of transfers {b.first_no}-{b.last_no}"
            return
        if (b.first_booked_at, b.last_booked_at) != (rows[0].booked_at, rows[-1].booked_at):
            yield f"batch {b.id}: its times are not those of its transfers"
        last_no = b.last_no
    if (books.head.chain, books.head.last_batch) != (chain, len(books.batches)):
        yield "the head's chain does not end the batches"
    if last_no != books.head.last_no:
        yield "the batches do not reach the head's number"
    if len({b.nonce for b in books.batches}) != len(books.batches):
        yield "two batches share a nonce"
    told = [
        f'{{"batch":{b.id},"first":{b.first_no},"last":{b.last_no}}}' for b in books.batches
    ]  # fmt: skip
    if list(books.outbox) != told:
        yield "the outbox does not tell the batches, each once and in order"


def _plain(value: Any) -> Any:
    return str(value) if hasattr(value, "hex") and not isinstance(value, bytes) else value


def _keys(books: Books) -> Iterator[str]:
    numbers = {t.id for t in books.transfers}
    taken: Counter[int] = Counter()
    in_units: Counter[int] = Counter()
    for row in books.idempotency:
        told = [row.transfer_id]
        if row.transfer_id is None:
            results = decode(row.answer).results
            told = [r.number for r in results if r.number]
            in_units.update(r.number for r in results if r.status == "created")
        else:
            taken.update(told)
        for number in told:
            if number not in numbers:
                yield f"key {row.key.hex()} tells of transfer {number}, which is missing"
    for counted in (taken, in_units):
        for number, count in counted.items():
            if count > 1:
                yield f"transfer {number} has {count} keys"
    for t in books.transfers:
        if t.reference is not None and t.id not in taken | in_units:
            yield f"transfer {t.id} was posted with a key and has none"


def _holds(books: Books) -> Iterator[str]:
    spent: Counter[int] = Counter()
    closed: set[int] = set()
    for t in books.transfers:
        if t.ref_id is None or t.kind == REVERSAL:
            continue
        if t.ref_id in closed:
            yield f"transfer {t.id} spends hold {t.ref_id}, which was spent"
        if t.kind in CAPTURES:
            spent[t.ref_id] += t.amount
        if t.kind != CAPTURES[0]:
            closed.add(t.ref_id)
    amounts = {t.id: t.amount for t in books.transfers if t.kind == HOLD}
    found = {hold.id: hold for hold in books.holds}
    if amounts.keys() != found.keys():
        yield f"holds without a row or a transfer: {sorted(amounts.keys() ^ found.keys())}"
    for number, hold in found.items():
        left = 0 if number in closed else amounts.get(number, 0) - spent[number]
        if hold.remaining != left or (hold.state == OPEN) == (number in closed):
            yield f"hold {number}: {hold.remaining} left, state {hold.state}, {left} expected"


def _reversals(books: Books) -> Iterator[str]:
    given: Counter[int] = Counter()
    for t in books.transfers:
        if t.kind == REVERSAL:
            given[t.ref_id] += t.amount
    for number, amount in given.items():
        if amount > books.transfers[number - 1].amount:
            yield f"transfer {number} was reversed by {amount}, more than its amount"
