"""The password policy and the keys of addresses."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.clock import DAY_US, HOUR_US
from guilder.core.permissions import Role
from guilder.core.result import Err, Ok
from guilder.domains.identity.rules.letters import Letter, Purpose
from guilder.domains.identity.rules.lockout import LOCK_US, MAX_FAILURES, Failures
from guilder.domains.identity.rules.passwords import check_password, normal_password
from guilder.domains.identity.rules.sessions import (
    DEFAULT_LIFE,
    REUSE_GRACE_US,
    RefreshToken,
    RefreshVerdict,
    Session,
    check_refresh,
)
from guilder.domains.identity.rules.users import User, email_key, masked
from tests.support.constants import NOW

COMMON = {"password", "qwerty", "letmein12345", "abc"}
ID = UUID(int=1)
OPEN = Session(ID, ID, None, "", NOW, NOW, DEFAULT_LIFE.expires_at(NOW, NOW), generation=5)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse " * 9 + "ab",
        "correct horse battery",
        "Password is 12345!",
        "123 is not so bad",
        "guilder and horses",
        "ING-184205-!!",
        "AB-18420-!!?$",
        "pässwörter sind lang",
        "密码很长而且没有人能猜到它",
        "\N{ANGSTROM SIGN}pqvx" * 3,
    ],
)
def test_a_password_that_keeps_the_policy_comes_back_in_its_normal_form(password: str) -> None:
    names = ("Guilder", "Müller Bank", "Ing", "Ab")
    checked = check_password(password, "a@b.test", COMMON, names=names)
    assert checked == Ok(normal_password(password))


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "too_short"),
        ("a" * 11, "too_short"),
        ("a" * 129, "too_long"),
        ("\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 100, "too_long"),
        ("e\N{COMBINING ACUTE ACCENT}" * 6, "too_short"),
        ("\N{VULGAR FRACTION ONE HALF}" * 11, "too_short"),
        ("e\N{COMBINING ACUTE ACCENT}" * 65, "too_long"),
        ("somebody@bank.test", "is_email"),
        ("SomeBody@Bank.test", "is_email"),
        ("letmein12345", "too_common"),
        ("LetMeIn12345", "too_common"),
        ("passwordpassword", "too_common"),
        ("abcABCabcABC", "too_common"),
        ("password12345", "too_common"),
        ("2024Qwerty2024", "too_common"),
        ("\N{FULLWIDTH LATIN SMALL LETTER S}omebody@bank.test", "is_email"),
        ("123456789012", "too_simple"),
        ("210987654321", "too_simple"),
        ("abcdefghijkl", "too_simple"),
        ("qwertyuiop12", "too_simple"),
        ("asdfghjklasdfghjkl", "too_simple"),
        ("aaaaaaaaaaaa", "too_simple"),
        ("            ", "too_simple"),
        ("x1y2x1y2x1y2", "too_simple"),
        ("111122223333", "too_simple"),
        ("1234abcd4321", "too_simple"),
        ("йцукенгшщзхъ", "too_simple"),
        ("guilderguilder", "holds_name"),
        ("Guilder-2026!!", "holds_name"),
        ("First Bank 1!", "holds_name"),
        ("somebody12345", "holds_name"),
        ("12some-body!!", "holds_name"),
        ("Somebody@Bank", "holds_name"),
        ("ING-18420-!!?", "holds_name"),
    ],
)
def test_a_weak_password_is_refused_with_a_reason(password: str, code: str) -> None:
    names = ("Guilder", "First Bank", "First", "Bank", "Ing")
    outcome = check_password(password, "somebody@bank.test", COMMON, names=names)
    assert isinstance(outcome, Err)
    assert outcome.refusal.code == "weak_password"
    (field,) = outcome.refusal.fields
    assert (field.where, field.code) == ("/password", code)
    assert not password or password not in field.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.test", "ada@example.test"),
        ("STRAẞE@example.test", "straße@example.test"),
        ("Rene\u0301e@example.test", "RENÉE@example.test"),
        ("ΚΏΣΤΑΣ@example.test", "κώστας@example.test"),
        ("ada@BÜCHER.test", "ada@xn--bcher-kva.test"),
        ("ada@bu\u0308cher.test", "ada@bücher。test"),
        ("ada@FAẞ.example", "ada@xn--fa-hia.example"),
        ("ada@ＥＸＡＭＰＬＥ.test", "ada@example.test"),
    ],
)
def test_spellings_of_one_address_have_one_key(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.test", "ad.a@example.test"),
        ("x@faß.example", "x@fass.example"),
        ("x@βόλος.example", "x@βόλοσ.example"),
        ("straße@example.test", "strasse@example.test"),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}da@example.test", "ada@example.test"),
        ("\N{LATIN SMALL LIGATURE FI}@example.test", "fi@example.test"),
        ("İ@example.test", "i@example.test"),
        ("m²@example.test", "m2@example.test"),
    ],
)
def test_other_addresses_have_other_keys(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)


@pytest.mark.parametrize(
    "text", ["", "@", "nobody", "a@", "@b", "a@b@c", "a@xn--\u00fc", "a@" + "x" * 300]
)
def test_what_is_no_address_has_a_key_all_the_same(text: str) -> None:
    assert email_key(text) == email_key(text.upper())


@given(st.emails())
def test_a_key_is_its_own_key(email: str) -> None:
    key = email_key(email)
    assert email_key(key) == key == email_key(email.upper()) == email_key(email.lower())


@pytest.mark.parametrize(
    ("generation", "used_ago", "verdict"),
    [
        (5, None, RefreshVerdict.NEXT),
        (4, 0, RefreshVerdict.AGAIN),
        (4, REUSE_GRACE_US, RefreshVerdict.AGAIN),
        (4, REUSE_GRACE_US + 1, RefreshVerdict.REUSED),
        (3, 0, RefreshVerdict.REUSED),  # somebody has used what it gave
        (3, REUSE_GRACE_US + 1, RefreshVerdict.REUSED),
    ],
)
def test_what_a_refresh_token_is_good_for(
    generation: int, used_ago: int | None, verdict: RefreshVerdict
) -> None:
    used_at = None if used_ago is None else NOW - used_ago
    token = RefreshToken(ID, generation, used_at, None)
    assert check_refresh(token, OPEN, NOW) is verdict
    for over in (replace(OPEN, ended_at=NOW), replace(OPEN, expires_at=NOW)):
        assert check_refresh(token, over, NOW) is RefreshVerdict.NONE
    assert check_refresh(token, replace(OPEN, expires_at=NOW + 1), NOW) is verdict


def test_the_reason_names_the_field_that_the_password_came_in() -> None:
    outcome = check_password("short", "a@b.test", COMMON, "/new_password")
    assert isinstance(outcome, Err)
    assert outcome.refusal.fields[0].where == "/new_password"


def test_failures_lock_and_are_forgotten() -> None:
    failures = Failures()
    for in_a_row in range(1, MAX_FAILURES):
        failures = failures.with_failure(NOW)
        assert (failures.in_a_row, failures.locked_seconds(NOW)) == (in_a_row, 0)
    assert failures.with_failure(NOW + LOCK_US + 1).in_a_row == 1
    locked = failures.with_failure(NOW + LOCK_US)
    assert locked == Failures(0, NOW + LOCK_US, NOW + 2 * LOCK_US)
    assert locked.locked_seconds(NOW + LOCK_US) == LOCK_US // 1_000_000
    assert locked.with_failure(NOW + LOCK_US + 1) == locked
    assert locked.with_failure(NOW + 2 * LOCK_US) == Failures(1, NOW + 2 * LOCK_US)
    assert locked.locked_seconds(NOW + 2 * LOCK_US - 1) == 1
    assert locked.locked_seconds(NOW + 2 * LOCK_US) == 0


@pytest.mark.parametrize(
    ("purpose", "waits_us"), [(Purpose.RESET, HOUR_US), (Purpose.VERIFICATION, DAY_US)]
)
def test_a_letter_that_has_waited_for_too_long_is_stale(purpose: Purpose, waits_us: int) -> None:
    letter = Letter(ID, purpose, ID, NOW, NOW + waits_us)
    assert not letter.is_stale(NOW + waits_us - 1)
    assert letter.is_stale(NOW + waits_us)
    assert not replace(letter, sent_at=NOW).is_stale(NOW + waits_us)  # on its way once more
    assert replace(letter, used_at=NOW).is_stale(NOW)


def test_a_masked_address_tells_no_words_of_who_chose_it() -> None:
    assert masked("www.evil.example/pay@b.test") == "w***@b.test"
    assert masked('"a@b"@b.test') == '"***@b.test'


def test_an_address_that_nobody_has_proved_goes_to_whoever_does() -> None:
    ada = User(ID, "ada@bank.test", None, Role.USER, True, False, NOW)
    assert ada.yields_address
    for kept in ({"email_verified": True}, {"is_active": False}, {"role": Role.ADMIN}):
        assert not replace(ada, **kept).yields_address
