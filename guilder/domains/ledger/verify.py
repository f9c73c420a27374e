"""``verify``: replays the whole ledger from its transfers and names the first row that is wrong.

Four passes over one snapshot: batches with their hash chain and transfers; balances and holds
against the replay; entries against their transfers; references. Memory grows with the number of
accounts, not with history.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from guilder.db.unit_of_work import View
from guilder.domains.ledger.commands import Category
from guilder.domains.ledger.engine import batch_chain_hash
from guilder.domains.ledger.repository import proofs
from guilder.domains.ledger.rules.state import COUNTERS, POSTED_KINDS, HoldState, Kind
from guilder.domains.ledger.store.base import event_payload

type VerifyProgress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """The first row that does not hold: which table, which key, what is wrong with it."""

    table: str
    key: str
    problem: str


@dataclass(slots=True)
class Report:
    """What was looked at and what was found; ``broken`` is None when the books hold.

    ``chain`` is the hash of the last batch: kept elsewhere, it proves later that history up to
    ``batch`` is still what it was. From the batch ``keys_from`` on it covers transfers' keys, too.
    """

    batch: int = 0
    chain: str = ""
    transfers: int = 0
    entries: int = 0
    accounts: int = 0
    totals: dict[str, int] = field(default_factory=dict)
    keys_from: int | None = None
    broken: BrokenRow | None = None


class _Found(Exception):
    def __init__(self, table: str, key: object, problem: str) -> None:
        super().__init__(problem)
        self.broken = BrokenRow(table, str(key), problem)


@dataclass(slots=True)
class _Replayed:
    """An account as its transfers say it stands."""

    debits: int = 0
    credits: int = 0
    debits_pending: int = 0
    credits_pending: int = 0
    version: int = 0


@dataclass(slots=True)
class _HoldReplayed:
    debit: int
    credit: int
    remaining: int
    state: int = HoldState.OPEN


async def verify_ledger(
    view: View, *, anchor: tuple[int, str] | None = None, progress: VerifyProgress | None = None
) -> Report:
    """Check every row of the ledger in one snapshot.

    ``anchor`` is a batch number and its chain hash as an earlier report gave them: history up to
    there must still have that hash. ``progress`` is told a pass and how many rows it has seen.
    """
    report = Report()
    check = _Verification(view, report, anchor, progress or (lambda _name, _count: None))
    try:
        await check.keys()
        await check.batches()
        await check.balances()
        await check.holds()
        await check.entries()
        await check.references()
        await check.events()
    except _Found as found:
        report.broken = found.broken
    return report


class _Verification:
    def __init__(
        self, view: View, report: Report, anchor: tuple[int, str] | None, progress: VerifyProgress
    ) -> None:
        self.view = view
        self.report = report
        self.anchor = anchor
        self.progress = progress
        self.accounts: dict[int, _Replayed] = {}
        self.assets: dict[int, str] = {}
        self.open: dict[int, _HoldReplayed] = {}
        self.reversible: dict[int, int] = {}

    async def keys(self) -> None:
        """No key without its transfer, and no two of one."""
        dangling = await proofs.dangling_key(self.view)
        _expect(dangling is None, "ledger_idempotency", dangling, "its transfer is missing")
        shared = await proofs.shared_key(self.view)
        _expect(shared is None, "ledger_idempotency", shared, "two keys name one transfer")

    async def batches(self) -> None:
        """Numbers without gaps, times in order, and the chain from the first batch to the head."""
        chain, last_no, batch_id, clock = bytes(32), 0, 0, 0
        keys = _Keys(self.view)
        async for batch in proofs.every_batch(self.view):
            _expect(batch.id == batch_id + 1, "ledger_batches", batch.id, "a batch is missing")
            _expect(batch.first_no == last_no + 1, "ledger_batches", batch.id, "numbers skip")
            rows = await proofs.transfers_between(self.view, batch.first_no, batch.last_no)
            for number, row in enumerate(rows, last_no + 1):
                _expect(row.id == number, "ledger_transfers", number, "the transfer is missing")
                _expect(row.booked_at > clock, "ledger_transfers", number, "booked out of order")
                clock = row.booked_at
                self._replay(row)
            found = rows[-1].id if rows else last_no
            _expect(found == batch.last_no, "ledger_transfers", found + 1, "it is missing")
            _expect(bool(rows), "ledger_batches", batch.id, "it has no transfers")
            fits = (batch.first_booked_at, batch.last_booked_at) == (rows[0].booked_at, clock)
            _expect(fits, "ledger_batches", batch.id, "its times are not its transfers'")
            chain = self._linked(batch, chain, rows, await keys.until(batch.last_no))
            self._anchored(batch.id, chain)
            batch_id, last_no = batch.id, batch.last_no
            self.progress("transfers", last_no)
        self.report.batch, self.report.chain = batch_id, chain.hex()
        self.report.transfers = last_no
        await self._head(batch_id, last_no, clock, chain)

    def _linked(self, batch: Any, chain: bytes, rows: list[Any], keys: list[Any]) -> bytes:
        """The batch's own hash: with its keys since the first batch whose hash covers them."""
        transfers = [tuple(row) for row in rows]
        link = batch_chain_hash(chain, transfers, keys)
        if link == batch.chain and self.report.keys_from is None:
            self.report.keys_from = batch.id
        elif self.report.keys_from is None:
            link = batch_chain_hash(chain, transfers)
        _expect(
            link == batch.chain, "ledger_batches", batch.id,
            "the hash does not fit the batch's transfers and their keys",
        )  # fmt: skip
        return link

    async def _head(self, batch_id: int, last_no: int, clock: int, chain: bytes) -> None:
        head = await proofs.whole_head(self.view)
        _expect(head is not None, "ledger_head", 0, "the head is missing")
        fits = (head.last_batch, head.last_no, head.chain) == (batch_id, last_no, chain)
        _expect(fits, "ledger_head", 0, "the head does not fit the last batch")
        _expect(head.clock_us == clock, "ledger_head", 0, "the clock is not the last booking's")
        stored = await proofs.last_transfer(self.view)
        _expect(stored == last_no, "ledger_transfers", stored, "it belongs to no batch")
        if self.anchor is not None:
            _expect(self.anchor[0] <= batch_id, "ledger_batches", self.anchor[0], "it is missing")

    def _anchored(self, batch_id: int, chain: bytes) -> None:
        if self.anchor is not None and self.anchor[0] == batch_id:
            fits = chain.hex() == self.anchor[1].lower()
            _expect(fits, "ledger_batches", batch_id, "history differs from the anchor")

    def _replay(self, row: Any) -> None:
        for number in (row.debit_account, row.credit_account):
            asset = self.assets.setdefault(number, row.asset)
            _expect(asset == row.asset, "ledger_transfers", row.id, "another account's asset")
        debit = self.accounts.setdefault(row.debit_account, _Replayed())
        credit = self.accounts.setdefault(row.credit_account, _Replayed())
        debit.version += 1
        credit.version += 1
        if row.kind in POSTED_KINDS:
            debit.debits += row.amount
            credit.credits += row.amount
        if row.kind == Kind.HOLD:
            debit.debits_pending += row.amount
            credit.credits_pending += row.amount
            self.open[row.id] = _HoldReplayed(row.debit_account, row.credit_account, row.amount)
        elif row.kind == Kind.REVERSAL:
            left = self.reversible.get(row.ref_id, 0) - row.amount
            _expect(left >= 0, "ledger_transfers", row.id, "it gives back more than was moved")
            self.reversible[row.ref_id] = left
        elif row.kind != Kind.TRANSFER:
            self._spend(row, debit, credit)
        if row.kind in POSTED_KINDS and row.kind != Kind.REVERSAL:
            self.reversible[row.id] = row.amount

    def _spend(self, row: Any, debit: _Replayed, credit: _Replayed) -> None:
        hold = self.open.get(row.ref_id)
        _expect(hold is not None, "ledger_transfers", row.id, "it spends a hold that is not there")
        assert hold is not None
        same = (hold.debit, hold.credit) == (row.debit_account, row.credit_account)
        freed = row.amount if row.kind == Kind.CAPTURE else hold.remaining
        fits = same and hold.state == HoldState.OPEN and row.amount <= hold.remaining
        _expect(fits, "ledger_transfers", row.id, "it does not fit the hold it spends")
        debit.debits_pending -= freed
        credit.credits_pending -= freed
        hold.remaining -= freed
        hold.state = {
            Kind.CAPTURE: HoldState.OPEN,
            Kind.CAPTURE_FINAL: HoldState.CAPTURED,
            Kind.RELEASE: HoldState.RELEASED,
            Kind.EXPIRY: HoldState.EXPIRED,
        }[row.kind]

    async def balances(self) -> None:
        """Every balance is what its transfers add up to, and each asset's balances add up to 0."""
        missing = set(self.accounts)
        async for row in proofs.every_balance(self.view):
            said = self.accounts.get(row.account_id, _Replayed())
            key = row.account_id
            missing.discard(key)
            for name in COUNTERS:
                fits = getattr(row, name) == getattr(said, name)
                _expect(fits, "ledger_balances", key, f"{name} is not what the transfers say")
            _expect(
                row.account_asset == row.asset, "ledger_balances", key, "not its account's asset"
            )
            normal = Category(row.category).normal
            _expect(row.normal == normal, "ledger_balances", key, "not its category's normal side")
            fits = self.assets.get(key, row.asset) == row.asset
            _expect(fits, "ledger_balances", key, "transfers of another asset")
            total = self.report.totals.get(row.asset, 0) + row.credits - row.debits
            self.report.totals[row.asset] = total
            self.report.accounts += 1
        _expect(not missing, "ledger_balances", min(missing, default=0), "it is missing")
        for asset, total in self.report.totals.items():
            _expect(total == 0, "ledger_balances", asset, "debits and credits do not cancel")

    async def holds(self) -> None:
        """Every hold is as its captures, release or expiry left it."""
        missing = set(self.open)
        async for row in proofs.every_hold(self.view):
            said = self.open.get(row.id)
            missing.discard(row.id)
            fits = said is not None and (said.remaining, said.state) == (row.remaining, row.state)
            _expect(fits, "ledger_holds", row.id, "it is not what the transfers say")
        _expect(not missing, "ledger_holds", min(missing, default=0), "it is missing")

    async def entries(self) -> None:
        """Two entries a transfer, each with the right change, balance after, and version."""
        account, balance, version = -1, 0, 0
        async for row in proofs.every_entry(self.view):
            key = f"{row.account_id}/{row.transfer_id}"
            _expect(row.kind is not None, "ledger_entries", key, "its transfer is missing")
            if row.account_id != account:
                account, balance, version = row.account_id, 0, 0
            side = {row.debit_account: -1, row.credit_account: 1}.get(row.account_id, 0)
            moved = row.amount if row.kind in POSTED_KINDS else 0
            _expect(side != 0, "ledger_entries", key, "its transfer is between other accounts")
            _expect(row.delta == side * moved, "ledger_entries", key, "not the transfer's amount")
            balance, version = balance + row.delta, version + 1
            _expect(row.balance_after == balance, "ledger_entries", key, "a wrong balance after")
            _expect(row.version == version, "ledger_entries", key, "a version is missing or double")
            fits = row.value_on == row.transfer_value_on
            _expect(fits, "ledger_entries", key, "not the transfer's value date")
            self.report.entries += 1
            if self.report.entries % proofs.ROWS_PER_PAGE == 0:
                self.progress("entries", self.report.entries)
        fits = self.report.entries == 2 * self.report.transfers
        _expect(fits, "ledger_entries", self.report.entries, "not two entries a transfer")

    async def references(self) -> None:
        """No account without its balance."""
        bare = await proofs.accounts_without_balance(self.view)
        _expect(bare is None, "ledger_accounts", bare, "its balance is missing")

    async def events(self) -> None:
        """What the outbox tells of batches is so, and told once; it may have been pruned."""
        batches = proofs.every_batch(self.view)
        async for row in proofs.every_batch_event(self.view):
            batch = await anext(batches, None)
            while batch is not None and event_payload(batch) != row.payload:
                batch = await anext(batches, None)
            fits = batch is not None and batch.last_booked_at == row.created_at
            _expect(fits, "outbox", row.id, "it is not what its batch was, or told twice")


class _Keys:
    """Transfers' keys in the order of the transfers, read as far as they are asked for."""

    def __init__(self, view: View) -> None:
        self._rows = proofs.keys_by_transfer(view)
        self._next: Any = None

    async def until(self, last_no: int) -> list[Any]:
        """Those up to a transfer's number that have not been given yet."""
        found: list[Any] = []
        while True:
            if self._next is None and (row := await anext(self._rows, None)) is not None:
                self._next = row
            if self._next is None or self._next.transfer_id > last_no:
                return found
            found.append(tuple(self._next))
            self._next = None


def _expect(holds: bool, table: str, key: object, problem: str) -> None:
    if not holds:
        raise _Found(table, key, problem)
