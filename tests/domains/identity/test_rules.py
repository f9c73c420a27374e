"""The password policy and the keys of addresses."""

import pytest

from guilder.core.result import Err, Ok
from guilder.domains.identity.rules import check_password, email_key, normal_password


@pytest.mark.parametrize(
    "password",
    [
        "a" * 12,
        "a" * 128,
        "correct horse battery",
        "            ",
        "pässwörter sind lang",
        "密码密码密码密码密码密码",
        "\N{ANGSTROM SIGN}" * 12,
    ],
)
def test_a_password_that_keeps_the_policy_comes_back_in_its_normal_form(password: str) -> None:
    assert check_password(password, "a@b.test") == Ok(normal_password(password))


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "too_short"),
        ("a" * 11, "too_short"),
        ("a" * 129, "too_long"),
        ("\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 100, "too_long"),
        ("e\N{COMBINING ACUTE ACCENT}" * 6, "too_short"),
        ("somebody@bank.test", "is_email"),
        ("SomeBody@Bank.test", "is_email"),
        ("\N{FULLWIDTH LATIN SMALL LETTER S}omebody@bank.test", "is_email"),
    ],
)
def test_a_weak_password_is_refused_with_a_reason(password: str, code: str) -> None:
    outcome = check_password(password, "somebody@bank.test")
    assert isinstance(outcome, Err)
    assert outcome.refusal.code == "weak_password"
    (field,) = outcome.refusal.fields
    assert (field.pointer, field.code) == ("/password", code)
    assert not password or password not in field.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.test", "ada@example.test"),
        ("STRASSE@example.test", "straße@example.test"),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}da@example.test", "ada@example.test"),
    ],
)
def test_spellings_of_one_address_have_one_key(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


def test_other_addresses_have_other_keys() -> None:
    assert email_key("ada@example.test") != email_key("ad.a@example.test")
