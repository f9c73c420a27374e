"""Codes: the standard's vectors, clocks that are off, and how they are written."""

from uuid import UUID

import pytest

from guilder.core.actor import FRESH_US, Actor, require_fresh
from guilder.core.clock import SECOND_US
from guilder.core.errors import StepUpRequired
from guilder.core.permissions import Role
from guilder.domains.identity.rules.factors import (
    base32,
    is_totp_code,
    normal_code,
    recovery_hash,
    totp_step,
    totp_uri,
)

SECRET = b"12345678901234567890"
USER, OTHER = UUID(int=1), UUID(int=2)
VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
"""RFC 6238, appendix B, SHA-1; of its eight digits ours are the last six."""


@pytest.mark.parametrize(("at", "digits"), VECTORS)
def test_the_codes_are_those_of_the_standard(at: int, digits: str) -> None:
    assert totp_step(SECRET, digits[-6:], at * SECOND_US) == at // 30


@pytest.mark.parametrize(
    ("seconds_off", "taken"),
    [(-30, False), (-1, False), (0, True), (29, True), (59, True), (60, False)],
)
def test_a_code_is_taken_in_its_step_and_the_one_after(seconds_off: int, taken: bool) -> None:
    at = 1111111110  # the beginning of a step
    code = "050471"  # of that step
    assert (totp_step(SECRET, code, (at + seconds_off) * SECOND_US) is not None) is taken


@pytest.mark.parametrize("code", ["", "05047", "0504711", "050472", "abcdef", "\u0660" * 6])
def test_another_code_is_none(code: str) -> None:
    assert totp_step(SECRET, code, 1111111111 * SECOND_US) is None
    assert totp_step(SECRET, code, 0) is None


def test_codes_are_read_as_they_were_meant() -> None:
    assert normal_code(" 050 471\t") == "050471"
    assert normal_code("abcde-FGHJK") == "ABCDEFGHJK"
    assert normal_code("\uff10\uff15\uff10\u3000\uff14\uff17\uff11") == "050471"  # full width
    dashes = "\u2010\u2011\u2012\u2013\u2014\u2212\u00ad\u200b\uff0d\u30fc"[:9]
    assert normal_code("".join(f"A{dash}" for dash in dashes)) == "A" * 9
    assert is_totp_code("050471")
    for code in ("05047", "0504711", "05047a", "\u0660" * 6, ""):
        assert not is_totp_code(code)


def test_a_recovery_code_is_of_one_user() -> None:
    assert recovery_hash(USER, "ABC") == recovery_hash(USER, "ABC")
    assert recovery_hash(USER, "ABC") != recovery_hash(OTHER, "ABC")
    assert recovery_hash(USER, "ABC") != recovery_hash(USER, "ABD")


def test_the_address_for_apps_names_the_bank_and_the_user() -> None:
    assert base32(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert totp_uri(SECRET, "ada+x@b.test", "My Bank & Co") == (
        "otpauth://totp/My%20Bank%20%26%20Co%3Aada%2Bx%40b.test"
        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=My%20Bank%20%26%20Co&digits=6&period=30"
    )


def test_a_colon_in_the_banks_name_does_not_reach_the_address_for_apps() -> None:
    uri = totp_uri(SECRET, "ada@b.test", "Bank: of: Ada")
    assert uri.startswith("otpauth://totp/Bank%20of%20Ada%3Aada%40b.test?")
    assert "&issuer=Bank%20of%20Ada&" in uri


def test_a_proof_counts_for_five_minutes() -> None:
    at = 1_800_000_000 * SECOND_US
    actor = Actor(USER, Role.USER, proved_at=at)
    require_fresh(actor, at)
    require_fresh(actor, at + FRESH_US - 1)
    for late in (FRESH_US, -FRESH_US):  # a clock that was set back is no way to stay fresh
        with pytest.raises(StepUpRequired):
            require_fresh(actor, at + late)
    with pytest.raises(StepUpRequired):
        require_fresh(Actor(USER, Role.USER), at)
