"""The same secret has the same MAC, under each key of the bank and under no other."""

import os

from hypothesis import given
from hypothesis import strategies as st

from guilder.infra.security.keys import ring_of
from guilder.infra.security.macs import SecretMac

OLD, NEW = os.urandom(32), os.urandom(32)


@given(st.text(max_size=80), st.text(max_size=80))
def test_only_the_same_secret_has_the_same_mac(one: str, other: str) -> None:
    mac = SecretMac(NEW)
    assert (mac.of(one) == mac.of(other)) == (one == other)
    assert all(len(found) == 32 for found in mac.of(one))


def test_there_is_one_for_each_key_and_the_current_ones_comes_first() -> None:
    both, new, old = SecretMac(ring_of([NEW, OLD])), SecretMac(NEW), SecretMac(OLD)
    assert both.of("secret") == [*new.of("secret"), *old.of("secret")]
    assert new.of("secret") != old.of("secret")
