"""The bounds of amounts, which are integers of minor units, and the exponents of ISO 4217 codes.

Source of the table: list one of ISO 4217 as of 2026, to amendment 180 (SIX, maintenance agency),
and what it has dropped since the bank first took it, each with its last day. Codes without a minor
unit that money cannot be held in (XXX, XTS, and the precious metals) are left out.
"""

from datetime import date
from typing import Final

MAX_AMOUNT: Final = 2**53 - 1
"""Largest amount at the API: the largest integer that every JSON reader holds exactly."""

MAX_BOOK: Final = 2**63 - 1
"""Largest value of a cumulative counter in the books (BIGINT)."""

_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
_TWO = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN"
    " BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP"
    " GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP"
    " LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR"
    " NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN"
    " SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER"
    " ZAR ZMW ZWG"
)

EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for exponent, codes in ((0, _ZERO), (2, _TWO), (3, _THREE), (4, _FOUR))
    for code in codes.split()
}


VALID_UNTIL: Final[dict[str, date]] = {"ANG": date(2025, 6, 30), "BGN": date(2025, 12, 31)}
"""The last day of codes that are gone: accounts in them stay as they are, and none is opened."""


class UnknownCurrency(ValueError):
    """The code is no ISO 4217 currency that accounts can be held in; the API refuses it before."""


def is_valid(currency: str, on: date) -> bool:
    """Whether a known code is one of the standard's on a day."""
    return on <= VALID_UNTIL.get(currency, date.max)


def exponent_of(currency: str) -> int:
    """Decimal digits of the minor unit (JPY 0, USD 2, KWD 3). Raises ``UnknownCurrency``."""
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise UnknownCurrency()
    return exponent
