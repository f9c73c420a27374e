"""The password policy."""

import string
import unicodedata
from collections.abc import Collection, Container
from itertools import pairwise
from typing import Final

from guilder.core.errors import FieldError
from guilder.core.result import Err, Ok
from guilder.core.text import fold
from guilder.domains.identity.errors import WeakPassword

MIN_PASSWORD_LENGTH: Final = 12
MAX_PASSWORD_LENGTH: Final = 128
MIN_RUN_LENGTH: Final = 4
"""Characters that runs such as ``abcd``, ``4321`` or ``aaaa`` must have on average to be weak."""
MIN_NAME_LENGTH: Final = 3
MIN_BESIDE_NAMES: Final = 6
"""Letters and digits that a password must have beside names that everybody knows."""

_RUNS: Final = (
    string.ascii_lowercase, "1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop",
    "yxcvbnm", "azertyuiop", "qsdfghjklm", "абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "йцукенгшщзхъ",
)  # fmt: skip
"""Alphabets and rows of keyboards, each followed by its beginning."""
_NEXT: Final = frozenset(
    pair for run in _RUNS for there in (run, run[::-1]) for pair in pairwise(there + there[0])
)


def normal_password(password: str) -> str:
    """One form for all the ways in which keyboards encode the same characters."""
    return unicodedata.normalize("NFKC", password)


def is_common(password: str, common: Container[str]) -> bool:
    """Whether it is one of the ``common``, such a one over and over, or one and some digits."""
    folded = password.casefold()
    forms = (folded, folded[: _period(folded)], folded.strip(string.digits))
    return any(form in common for form in forms)


def is_simple(password: str) -> bool:
    """Whether it is a few runs, or a few characters over and over: there is little to guess."""
    folded = password.casefold()
    runs = 1 + sum(one != two and (one, two) not in _NEXT for one, two in pairwise(folded))
    return len(folded) >= runs * MIN_RUN_LENGTH or _period(folded) <= MIN_RUN_LENGTH


def is_mostly_names(password: str, names: Collection[str]) -> bool:
    """Whether it holds one of the ``names`` and little else. Names of few characters do not count.

    Only letters and digits are looked at, in any case.
    """
    rest = _letters(password)
    for name in sorted(map(_letters, names), key=len, reverse=True):
        if len(name) >= MIN_NAME_LENGTH:
            rest = rest.replace(name, " ")
    return " " in rest and len(rest.replace(" ", "")) < MIN_BESIDE_NAMES


def check_password(
    password: str,
    email: str,
    common: Container[str],
    pointer: str = "/password",
    names: Collection[str] = (),
) -> Ok[str] | Err[WeakPassword]:
    """The password in its normal form, or why it is too weak. No rules of composition.

    ``common`` are passwords that everybody tries first, ``names`` those of the bank; ``pointer`` is
    where in the request the password stands.
    """
    normal = normal_password(password)
    lengths = len(password), len(normal)  # a fraction becomes three characters, an accent none
    if min(lengths) < MIN_PASSWORD_LENGTH:
        return _weak(pointer, "too_short", f"Use at least {MIN_PASSWORD_LENGTH} characters.")
    if max(lengths) > MAX_PASSWORD_LENGTH:
        return _weak(pointer, "too_long", f"Use at most {MAX_PASSWORD_LENGTH} characters.")
    if fold(normal) == fold(email):
        return _weak(pointer, "is_email", "Use something else than the e-mail address.")
    if is_common(normal, common):
        return _weak(pointer, "too_common", "Use something that others do not use.")
    if is_simple(normal):
        return _weak(pointer, "too_simple", "Use something else than rows and repetitions.")
    if is_mostly_names(normal, (*names, email.partition("@")[0])):
        message = "Use something else than the name of the bank or of the e-mail address."
        return _weak(pointer, "holds_name", message)
    return Ok(normal)


def _period(text: str) -> int:
    """The length of the shortest text that gives this one when it is repeated."""
    return (text + text).find(text, 1)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, normal_password(text).casefold()))


def _weak(pointer: str, code: str, message: str) -> Err[WeakPassword]:
    return Err(WeakPassword(fields=(FieldError(pointer, code, message),)))
