"""The checks of one posting that need nothing but the two accounts, first hit first."""

from collections.abc import Mapping

from guilder.core.errors import Refusal
from guilder.core.money import MAX_BOOK
from guilder.domains.ledger.errors import (
    AccountClosed,
    AccountFrozen,
    AmountOverflow,
    BalanceCeiling,
    BalanceCondition,
    InsufficientFunds,
    VersionMismatch,
)
from guilder.domains.ledger.rules.state import AccountFlag, LedgerAccount, Posting

type Refused = type[Refusal] | tuple[type[Refusal], Mapping[str, object]]

_FROZEN_DEBITS, _FROZEN_CREDITS, _CLOSED = (
    int(flag)
    for flag in (AccountFlag.FROZEN_DEBITS, AccountFlag.FROZEN_CREDITS, AccountFlag.CLOSED)
)


def blocked(debit: LedgerAccount, credit: LedgerAccount) -> Refused | None:
    """Closed, or frozen on the side that the money would move on."""
    flags = debit.flags | credit.flags
    if not flags:
        return None
    if flags & _CLOSED:
        return AccountClosed
    if debit.flags & _FROZEN_DEBITS or credit.flags & _FROZEN_CREDITS:
        return AccountFrozen
    return None


def funds(
    debit: LedgerAccount, credit: LedgerAccount, amount: int, lapsed: tuple[int, int] = (0, 0)
) -> Refused | None:
    """Overflow, then floors, then ceilings, with what is held counted against either.

    ``lapsed`` is what still stands as held on the debit side, and as coming in on the credit side,
    though its time is over: it does not count.
    """
    if _overflows(
        debit.debits + debit.debits_pending + amount,
        credit.credits + credit.credits_pending + amount,
    ):
        return AmountOverflow
    leaving, coming = debit.debits_pending - lapsed[0], credit.credits_pending - lapsed[1]
    if debit.normal > 0:
        available = debit.credits - debit.debits - leaving
        if debit.floor is not None and available - amount < debit.floor:
            return InsufficientFunds
    if credit.normal < 0:
        available = credit.debits - credit.credits - coming
        if credit.floor is not None and available - amount < credit.floor:
            return InsufficientFunds
    if debit.normal < 0 and debit.ceiling is not None:
        balance = debit.debits + leaving - debit.credits
        if balance + amount > debit.ceiling:
            return BalanceCeiling
    if credit.normal > 0 and credit.ceiling is not None:
        balance = credit.credits + coming - credit.debits
        if balance + amount > credit.ceiling:
            return BalanceCeiling
    return None


def conditions(p: Posting, debit: LedgerAccount, moved: int) -> Refused | None:
    """What the caller asked to hold, with ``moved`` about to leave the debit account."""
    wanted = p.conditions
    assert wanted is not None
    if wanted.version is not None and wanted.version != debit.version:
        return VersionMismatch
    after = (debit.credits - debit.debits - moved) * debit.normal
    if wanted.min_balance is not None and after < wanted.min_balance:
        return BalanceCondition
    if wanted.max_balance is not None and after > wanted.max_balance:
        return BalanceCondition
    return None


def _overflows(debits: int, credits: int) -> bool:
    return debits > MAX_BOOK or credits > MAX_BOOK
