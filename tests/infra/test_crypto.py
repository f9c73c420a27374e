"""What is sealed can be read again only where it belongs, and only by who has the key."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.ports import CannotUnseal, KeyMissing, Sealer
from guilder.infra.security.crypto import AesGcmSealer

OLD, NEW = os.urandom(32), os.urandom(32)
PLACE = "identity_totp|secret|018f"


@given(st.binary(max_size=300), st.text(max_size=60))
def test_it_is_read_again_when_nothing_was_changed(plain: bytes, place: str) -> None:
    sealer: Sealer = AesGcmSealer([NEW])
    sealed = sealer.seal(plain, place)
    assert sealer.unseal(sealed, place) == plain
    assert sealed != sealer.seal(plain, place)
    assert len(plain) < 4 or plain not in sealed


def test_every_changed_bit_is_refused() -> None:
    sealer = AesGcmSealer([NEW])
    sealed = sealer.seal(b"JBSWY3DPEHPK3PXP", PLACE)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotUnseal):
            sealer.unseal(bytes(changed), PLACE)
    for length in range(len(sealed)):
        with pytest.raises(CannotUnseal):
            sealer.unseal(sealed[:length], PLACE)


def test_another_place_is_refused() -> None:
    sealer = AesGcmSealer([NEW])
    with pytest.raises(CannotUnseal):
        sealer.unseal(sealer.seal(b"secret", PLACE), PLACE + "0")


def test_a_key_that_was_in_use_still_opens_when_it_is_rotated() -> None:
    before, after = AesGcmSealer([OLD]), AesGcmSealer([NEW, OLD])
    sealed = before.seal(b"secret", PLACE)
    assert after.unseal(sealed, PLACE) == b"secret"
    assert after.is_outdated(sealed)
    assert not after.is_outdated(after.seal(b"secret", PLACE))
    with pytest.raises(KeyMissing, match=r"^a sealed text names the key [0-9a-f]{16}$"):
        AesGcmSealer([NEW]).unseal(sealed, PLACE)
    with pytest.raises(CannotUnseal):
        before.unseal(after.seal(b"secret", PLACE), PLACE)
