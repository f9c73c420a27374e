"""What ``decide`` reads and what it answers, on plain ints. Nothing here does I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final
from uuid import UUID

from guilder.core.errors import Refusal
from guilder.domains.ledger.rules.rows import NewEntry, NewKey, NewTransfer


class Kind(IntEnum):
    """What a transfer does to the books. The numbers are stored; never renumber them."""

    TRANSFER = 1
    HOLD = 2
    CAPTURE = 3
    CAPTURE_FINAL = 4
    RELEASE = 5
    EXPIRY = 6
    REVERSAL = 7


POSTED_KINDS: Final = (Kind.TRANSFER, Kind.CAPTURE, Kind.CAPTURE_FINAL, Kind.REVERSAL)
"""The kinds that change posted balances; the others only set aside or give back."""


class AccountFlag(IntFlag):
    """State bits of an account, read under the lock with its balance."""

    FROZEN_DEBITS = 1
    FROZEN_CREDITS = 2
    CLOSED = 4
    LIMITED = 8


class HoldState(IntEnum):
    """Where a hold stands; only an open one can be spent."""

    OPEN = 0
    CAPTURED = 1
    RELEASED = 2
    EXPIRED = 3


@dataclass(slots=True)
class Conditions:
    """What must hold on the debit account for the posting to count.

    ``version`` is the version before; the balances are the natural posted balance after.
    """

    version: int | None = None
    min_balance: int | None = None
    max_balance: int | None = None


@dataclass(slots=True)
class Posting:
    """One movement asked for. Accounts are ledger numbers, ``amount`` minor units above zero.

    For a capture, release, expiry or reversal ``ref`` is the number of the hold or the original
    transfer; accounts and asset are then taken from it. ``amount`` 0 means all that is left. Not
    frozen, because thousands are made a second; nobody changes one after it was made.
    """

    debit: int
    credit: int
    amount: int
    asset: str
    kind: int = Kind.TRANSFER
    key: bytes | None = None
    fingerprint: bytes = b""
    ref: int | None = None
    value_on: int | None = None
    created_by: UUID | None = None
    description: str | None = None
    reference: str | None = None
    metadata: str | None = None
    expires_at: int | None = None
    conditions: Conditions | None = None


@dataclass(slots=True)
class Unit:
    """What one caller posts together: never split over two batches.

    ``atomic`` posts all or none; ``dry_run`` decides and writes nothing. With a ``key`` the answer
    to the whole unit is kept and replayed; ``label`` travels with that answer. No posting has the
    unit's own key: whoever makes keys sets those of units apart.
    """

    postings: list[Posting]
    atomic: bool = False
    dry_run: bool = False
    key: bytes | None = None
    fingerprint: bytes = b""
    label: str = ""
    closes_us: int = 0
    """An instant that the unit closes: nothing is booked at or before it any more."""


@dataclass(slots=True)
class PostingResult:
    """What became of one posting; ``number`` is 0 when nothing was booked.

    ``debit_after`` and ``credit_after`` are credits minus debits posted on either account.
    """

    status: str
    number: int = 0
    booked_at: int = 0
    amount: int = 0
    debit_after: int = 0
    credit_after: int = 0
    refusal: type[Refusal] | None = None
    extra: Mapping[str, object] | None = None

    def raise_refused(self) -> None:
        """Raise the refusal, when there is one."""
        if self.refusal is not None:
            raise self.refusal(extra=self.extra)


@dataclass(slots=True)
class UnitResult:
    """The results of a unit in the order of its postings; ``replayed`` when read from its key.

    ``conflict``: the unit's own key was used for another request, and nothing was tried.
    """

    results: list[PostingResult]
    label: str = ""
    replayed: bool = False
    conflict: bool = False


@dataclass(slots=True)
class LedgerAccount:
    """Counters, bounds and state of one account as loaded under the lock.

    ``normal`` is 1 for credit-normal accounts (what the bank owes) and -1 for debit-normal ones.
    ``floor`` bounds the natural available balance, ``ceiling`` the natural balance with what is
    on its way in.
    """

    id: int
    asset: str
    normal: int
    debits: int
    credits: int
    debits_pending: int
    credits_pending: int
    version: int
    flags: int = 0
    floor: int | None = 0
    ceiling: int | None = None
    loaded_version: int = -1

    def __post_init__(self) -> None:
        self.loaded_version = self.version


COUNTERS: Final = ("debits", "credits", "debits_pending", "credits_pending", "version")
"""What a posting changes in a balance."""


@dataclass(slots=True)
class StoredKey:
    """An accepted key: the posting's outcome, or the kept ``answer`` of a whole unit."""

    fingerprint: bytes
    result: PostingResult | None = None
    answer: bytes | None = None


@dataclass(slots=True)
class Hold:
    """An open or spent hold; ``remaining`` is what can still be captured."""

    id: int
    debit: int
    credit: int
    asset: str
    remaining: int
    state: int = HoldState.OPEN
    expires_at: int | None = None


@dataclass(slots=True)
class Original:
    """A transfer that someone asks to reverse, and how much of it was given back."""

    id: int
    debit: int
    credit: int
    amount: int
    kind: int
    reversed: int = 0


@dataclass(slots=True)
class Limit:
    """An outgoing limit of one account per window, and what the current window has used."""

    account_id: int
    period: str
    max_amount: int | None
    max_count: int | None
    window_start: int = 0
    used_amount: int = 0
    used_count: int = 0


USED: Final = ("window_start", "used_amount", "used_count")
"""What a posting changes in a limit."""


@dataclass(slots=True)
class LedgerState:
    """Everything a batch may look at, loaded under the lock of the head.

    ``lapsing`` are an account's open holds that may lapse before the batch ends; see ``watch``.
    """

    last_no: int
    clock_us: int
    accounts: dict[int, LedgerAccount] = field(default_factory=dict)
    keys: dict[bytes, StoredKey] = field(default_factory=dict)
    holds: dict[int, Hold] = field(default_factory=dict)
    originals: dict[int, Original] = field(default_factory=dict)
    limits: dict[int, list[Limit]] = field(default_factory=dict)
    lapsing: dict[int, list[Hold]] = field(default_factory=dict)

    def watch(self, hold: Hold) -> None:
        """From the instant on at which it expires, the hold counts no more on either side."""
        for number in (hold.debit, hold.credit):
            self.lapsing.setdefault(number, []).append(hold)

    def forget(self, hold: Hold) -> None:
        """Take back ``watch``."""
        for number in (hold.debit, hold.credit):
            self.lapsing[number].remove(hold)
            if not self.lapsing[number]:
                del self.lapsing[number]


@dataclass(slots=True)
class Decision:
    """What to answer and what to write; empty rows mean nothing is written."""

    results: list[UnitResult]
    last_no: int
    clock_us: int
    transfers: list[NewTransfer] = field(default_factory=list)
    entries: list[NewEntry] = field(default_factory=list)
    keys: list[NewKey] = field(default_factory=list)
    new_holds: list[Hold] = field(default_factory=list)
    changed_holds: dict[int, Hold] = field(default_factory=dict)
    changed_limits: dict[tuple[int, str], Limit] = field(default_factory=dict)
    changed_accounts: dict[int, LedgerAccount] = field(default_factory=dict)
