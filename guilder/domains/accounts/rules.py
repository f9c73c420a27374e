"""Products, account numbers, months and the words for lines. Pure values, no I/O."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from guilder.core.clock import day_date, day_number, day_of, day_start
from guilder.core.money import EXPONENTS, MAX_AMOUNT, is_valid
from guilder.domains.ledger.rules.state import Kind

ACTIVE: Final = "active"
"""The status of an account that is open and free to use."""
CLOSED: Final = "closed"
"""The status of an account on which nothing moves any more."""


@dataclass(frozen=True, slots=True)
class Product:
    """What can be opened: its id never changes, ``name`` is for people.

    ``floor`` is the lowest available balance, ``ceiling`` the highest balance, with what is on its
    way in; the built-in products have no other limits. The
    ``currencies`` are all that accounts may be in, those included that are gone.
    """

    id: UUID
    code: str
    type: str
    name: str
    currencies: tuple[str, ...]
    floor: int = 0
    ceiling: int = MAX_AMOUNT

    def currencies_on(self, day: date) -> tuple[str, ...]:
        """In which currencies an account can be opened on a day."""
        return tuple(code for code in self.currencies if is_valid(code, day))

    def offers(self, currency: str, day: date) -> bool:
        """Whether an account in the currency can be opened on a day."""
        return currency in self.currencies and is_valid(currency, day)


_CURRENCIES: Final = tuple(sorted(EXPONENTS))

CHECKING: Final = Product(
    UUID("01900000-0000-7000-8000-000000000001"),
    "checking",
    "checking",
    "Checking account",
    _CURRENCIES,
)
SAVINGS: Final = Product(
    UUID("01900000-0000-7000-8000-000000000002"),
    "savings",
    "savings",
    "Savings account",
    _CURRENCIES,
)
EXAMPLE_PAYER: Final = UUID("0198c6ba-7c1a-7000-8000-000000000001")
EXAMPLE_PAYEE: Final = UUID("0198c6ba-7c1a-7000-8000-000000000002")
"""Two accounts of the reference's examples. The demo bank has them, so that they can be tried."""

PRODUCTS: Final = {product.code: product for product in (CHECKING, SAVINGS)}

_SPACE: Final = 10**11
_FACTOR: Final = 57_241_905_083  # shares no factor with 10, so that no two numbers meet
_SHIFT: Final = 31_415_926_535
ACCOUNT_NUMBER: Final = re.compile(r"[0-9]{12}", re.ASCII)


def account_number_of(ledger_number: int) -> str:
    """Twelve digits for a ledger account: eleven scattered ones and a Luhn check digit.

    A bijection below 10^11, so that numbers are unique without a look-up and neighbours are not
    alike; no secret.
    """
    if not 0 < ledger_number < _SPACE:
        raise ValueError("there are no account numbers left")
    body = f"{(ledger_number * _FACTOR + _SHIFT) % _SPACE:011d}"
    return body + _luhn(body)


def is_account_number(text: str) -> bool:
    """Whether the text is twelve digits whose check digit fits: any single slip is noticed."""
    return ACCOUNT_NUMBER.fullmatch(text) is not None and _luhn(text[:-1]) == text[-1]


def _luhn(body: str) -> str:
    """The check digit of ISO/IEC 7812-1: every second digit from the right counts twice."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (1 if place % 2 else 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in UTC."""

    first: date

    @property
    def last(self) -> date:
        """The last day."""
        return self.first.replace(day=monthrange(self.first.year, self.first.month)[1])

    @classmethod
    def of(cls, at_us: int) -> "Month":
        """The month that an instant falls into."""
        return cls(day_date(day_of(at_us)).replace(day=1))

    @property
    def bounds(self) -> tuple[int, int]:
        """The first instant of the month and that of the next."""
        return day_start(day_number(self.first)), day_start(day_number(self.last) + 1)

    def __str__(self) -> str:
        """``YYYY-MM``."""
        return self.first.isoformat()[:7]


_CATEGORIES: Final = {
    "settlement": ("withdrawal", "deposit"),
    "fees": ("fee", "fee_refund"),
    "interest": ("interest_paid", "interest"),
    "exchange": ("exchange", "exchange"),
    "suspense": ("suspense", "suspense"),
    "equity": ("adjustment", "adjustment"),
}


def category(kind: int, bank_code: str | None, credit: bool) -> str:
    """The word for a line: by the kind of transfer, then by the bank's account on the other side.

    ``bank_code`` is the code of that account (``USD.settlement``, ``USD.settlement.2``), None for a
    customer's.
    """
    if kind == Kind.REVERSAL:
        return "reversal"
    if kind in (Kind.CAPTURE, Kind.CAPTURE_FINAL):
        return "payment"
    if bank_code is None:
        return "transfer"
    words = _CATEGORIES.get(bank_code.split(".")[1])
    return words[credit] if words is not None else "transfer"


_FLIPPED: Final = "89abcdef01234567"


def line_id(transfer_id: str, credit: bool) -> str:
    """The id of a side of a transfer: the transfer's own as UUIDv8, for debits its top bit flipped.

    Nothing is stored for it, it never changes, and no two lines have the same: the lower half of a
    transfer's id is its alone.
    """
    first = transfer_id[0] if credit else _FLIPPED[int(transfer_id[0], 16)]
    return f"{first}{transfer_id[1:14]}8{transfer_id[15:]}"
