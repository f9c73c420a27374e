"""The ledger's rows, column by column: the one list of what they hold and in which order.

``models`` holds its tables against these, SQL is made from the tables. Money is in minor units,
instants are microseconds and dates days since 1970. A column of transfers is for ever: the chain
hashes them in this order.
"""

from typing import NamedTuple
from uuid import UUID


class LedgerAccountRow(NamedTuple):
    """The immutable facts of a ledger account."""

    id: int
    public_id: UUID
    code: str | None
    asset: str
    category: str
    name: str
    opened_at: int


def bank_code(asset: str, role: str, place: int = 1) -> str:
    """The code of one of the bank's own accounts; ``place`` counts those of one role."""
    return f"{asset}.{role}" if place == 1 else f"{asset}.{role}.{place}"


class BalanceRow(NamedTuple):
    """Counters, bounds and state of one account."""

    account_id: int
    debits: int
    credits: int
    debits_pending: int
    credits_pending: int
    version: int
    floor: int | None
    ceiling: int | None
    flags: int
    normal: int
    asset: str


class TransferRow(NamedTuple):
    """A transfer as stored."""

    id: int
    kind: int
    debit_account: int
    credit_account: int
    amount: int
    booked_at: int
    asset: str
    value_on: int | None
    ref_id: int | None
    group_id: int | None
    created_by: UUID | None
    description: str | None
    reference: str | None
    metadata: str | None


class SearchRow(NamedTuple):
    """The words of a transfer, folded."""

    transfer_id: int
    folded: str


class EntryRow(NamedTuple):
    """An account's side of a transfer; ``delta`` is credits minus debits."""

    account_id: int
    transfer_id: int
    delta: int
    balance_after: int
    version: int
    value_on: int | None


class KeyRow(NamedTuple):
    """An accepted key: of one transfer, or of a unit with its ``answer``."""

    key: bytes
    fingerprint: bytes
    transfer_id: int | None
    answer: bytes | None


class HoldRow(NamedTuple):
    """What is left of a hold."""

    id: int
    remaining: int
    state: int
    expires_at: int | None


# Thousands are made a second: what is to be written are plain tuples, of the same columns.
type NewTransfer = tuple[
    int, int, int, int, int, int, str, int | None, int | None, int | None, UUID | None,
    str | None, str | None, str | None,
]  # fmt: skip
type NewSearch = tuple[int, str]
type NewEntry = tuple[int, int, int, int, int, int | None]
type NewKey = tuple[bytes, bytes, int | None, bytes | None]
type ChangedHold = tuple[int, int, int, int | None]
