"""What a posting can be refused with, in the order in which ``decide`` looks (first hit wins)."""

from types import MappingProxyType

from guilder.core.errors import (
    BadRequest,
    Conflict,
    IdempotencyConflict,
    Invalid,
    NotFound,
    Refusal,
)


class SameAccount(Invalid):
    """Debit and credit are one account."""

    code = "same_account"
    detail = "The two accounts must be different."


class AccountNotFound(NotFound):
    """One of the accounts does not exist, or is not the caller's."""

    code = "account_not_found"
    detail = "There is no such account."


class CurrencyMismatch(Invalid):
    """An account does not hold the asset of the posting."""

    code = "currency_mismatch"
    detail = "Both accounts must hold the currency of the transfer."


class AccountClosed(Conflict):
    """One of the accounts is closed."""

    code = "account_closed"
    detail = "The account is closed."


class AccountFrozen(Conflict):
    """A freeze stops the movement on one side."""

    code = "account_frozen"
    detail = "The account is frozen."


class HoldNotFound(NotFound):
    """There is no such hold."""

    code = "hold_not_found"
    detail = "There is no such hold."


class HoldSpent(Conflict):
    """The hold was captured, released or expired before."""

    code = "hold_spent"
    detail = "The hold is no longer open."


class HoldExpired(Conflict):
    """The hold ran out before the capture."""

    code = "hold_expired"
    detail = "The hold has expired."


class HoldExceeded(Invalid):
    """The capture asks for more than the hold has left."""

    code = "hold_exceeded"
    detail = "The capture is larger than what the hold has left."
    extra_example = MappingProxyType({"remaining": 2_000})


class TransferNotFound(NotFound):
    """There is no such transfer, it is not the caller's, or it is none that can be reversed."""

    code = "transfer_not_found"
    detail = "There is no such transfer."


class AlreadyReversed(Conflict):
    """The whole amount was given back before."""

    code = "already_reversed"
    detail = "The transfer has been reversed in full."


class ExceedsOriginal(Invalid):
    """All reversals together would give back more than was moved."""

    code = "exceeds_original"
    detail = "The reversals would exceed the original amount."


class AmountOverflow(Invalid):
    """A counter of the books would pass 2^63-1."""

    code = "amount_overflow"
    detail = "The account cannot hold an amount of this size."


class InsufficientFunds(BadRequest):
    """The available balance would fall below the account's floor."""

    code = "insufficient_funds"
    detail = "The available balance is not sufficient."


class BalanceCeiling(Conflict):
    """The balance would pass the account's ceiling."""

    code = "balance_ceiling"
    detail = "The account would exceed its maximum balance."


class LimitExceeded(Invalid):
    """An amount or count limit of a window; ``extra`` carries limit, used, remaining."""

    code = "limit_exceeded"
    detail = "A limit of the account does not allow it."
    extra_example = MappingProxyType(
        {"period": "day", "measure": "amount", "limit": 50_000, "used": 48_000, "remaining": 2_000}
    )


class VersionMismatch(Conflict):
    """The account changed since the caller looked."""

    code = "version_mismatch"
    detail = "The account is not at the expected version."


class BalanceCondition(Conflict):
    """The resulting balance would be outside the bounds the caller set."""

    code = "balance_condition"
    detail = "The resulting balance is outside the given bounds."


class GroupFailed(Conflict):
    """Another member of the atomic group was refused."""

    code = "group_failed"
    detail = "Another transfer of the atomic group was refused."


class ClockBackwards(Conflict):
    """The bank's clock only moves forward once an account is open."""

    code = "clock_backwards"
    detail = "The clock cannot be set back once an account has been opened."


class BalanceNotZero(Conflict):
    """An account is closed only when nothing is left on it or held."""

    code = "balance_not_zero"
    detail = "The account still holds money."


PLAIN_POSTING: tuple[type[Refusal], ...] = (
    AccountNotFound,
    InsufficientFunds,
    AccountClosed,
    AccountFrozen,
    BalanceCeiling,
    SameAccount,
    CurrencyMismatch,
    AmountOverflow,
    LimitExceeded,
)
"""What one movement of money between two accounts can be refused with."""

REFUSAL_ORDER: tuple[type[Refusal], ...] = (
    IdempotencyConflict,
    SameAccount,
    AccountNotFound,
    CurrencyMismatch,
    AccountClosed,
    AccountFrozen,
    HoldNotFound,
    HoldSpent,
    HoldExpired,
    HoldExceeded,
    TransferNotFound,
    AlreadyReversed,
    ExceedsOriginal,
    AmountOverflow,
    InsufficientFunds,
    BalanceCeiling,
    LimitExceeded,
    VersionMismatch,
    BalanceCondition,
    GroupFailed,
)
BY_CODE: dict[str, type[Refusal]] = {refusal.code: refusal for refusal in REFUSAL_ORDER}
