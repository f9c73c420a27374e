"""The password policy."""

import string
import unicodedata
from collections.abc import Container
from typing import Final

from guilder.core.errors import FieldError
from guilder.core.result import Err, Ok
from guilder.core.text import fold
from guilder.domains.identity.errors import WeakPassword

MIN_PASSWORD_LENGTH: Final = 12
MAX_PASSWORD_LENGTH: Final = 128


def normal_password(password: str) -> str:
    """One form for all the ways in which keyboards encode the same characters."""
    return unicodedata.normalize("NFKC", password)


def is_common(password: str, common: Container[str]) -> bool:
    """Whether it is one of the ``common``, such a one over and over, or one and some digits."""
    folded = password.casefold()
    period = (folded + folded).find(folded, 1)
    return any(form in common for form in (folded, folded[:period], folded.strip(string.digits)))


def check_password(
    password: str, email: str, common: Container[str], pointer: str = "/password"
) -> Ok[str] | Err[WeakPassword]:
    """The password in its normal form, or why it is too weak. No rules of composition.

    ``common`` are passwords that everybody tries first; ``pointer`` is where in the request the
    password stands.
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
    return Ok(normal)


def _weak(pointer: str, code: str, message: str) -> Err[WeakPassword]:
    return Err(WeakPassword(fields=(FieldError(pointer, code, message),)))
