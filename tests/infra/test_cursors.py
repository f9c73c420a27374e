"""A cursor tells nothing, is made by nobody but the bank, and is good in its own place alone."""

import os
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.clock import SECOND_US, FixedClock
from guilder.core.ports import CannotUnseal
from guilder.infra.security.cursors import MAX_ROW_KEY_LENGTH, CursorSealer
from guilder.infra.security.keys import KeyRing
from guilder.infra.security.secrets import StaticSecrets

OLD, NEW = os.urandom(32), os.urandom(32)
PLACE = '["/api/v1/transfers", [], "user:1"]'
KEYS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_ROW_KEY_LENGTH
)


@given(KEYS, st.text(max_size=80))
def test_it_is_read_again_in_its_place(key: str, place: str) -> None:
    sealer = CursorSealer(NEW)
    cursor = sealer.seal(key, place)
    assert sealer.unseal(cursor, place) == key
    assert cursor == sealer.seal(key, place)
    for other in (place + "x", place[1:] if place else "x"):
        with pytest.raises(CannotUnseal):
            sealer.unseal(cursor, other)


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_neither_its_length_nor_its_text_tells_a_number(one: int, other: int) -> None:
    sealer = CursorSealer(NEW)
    first, second = sealer.seal(str(one), PLACE), sealer.seal(str(other), PLACE)
    assert len(first) == len(second)
    assert (first == second) == (one == other)
    assert urlsafe_b64encode(str(one).encode()).decode().rstrip("=") != first


@given(st.text())
def test_any_text_that_was_not_given_out_is_refused(text: str) -> None:
    with pytest.raises(CannotUnseal):
        CursorSealer(NEW).unseal(text, PLACE)


def test_every_changed_character_is_refused() -> None:
    sealer = CursorSealer(NEW)
    cursor = sealer.seal("17", PLACE)
    for place, character in enumerate(cursor):
        changed = "A" if character != "A" else "B"
        with pytest.raises(CannotUnseal):
            sealer.unseal(cursor[:place] + changed + cursor[place + 1 :], PLACE)
    for other in (cursor[:-1], cursor + "A", cursor + "=", cursor + "\n", " " + cursor):
        with pytest.raises(CannotUnseal):
            sealer.unseal(other, PLACE)


def test_a_key_that_is_followed_is_taken_until_it_is_retired() -> None:
    clock = FixedClock(1_700_000_000 * SECOND_US)
    store = StaticSecrets({"secret_key": [NEW, OLD]})
    after = CursorSealer(KeyRing("secret_key", store, clock, keep_seconds=60))
    cursor = CursorSealer(OLD).seal("17", PLACE)
    assert after.unseal(cursor, PLACE) == "17"
    assert after.seal("17", PLACE) == CursorSealer(NEW).seal("17", PLACE)
    with pytest.raises(CannotUnseal):
        CursorSealer(NEW).unseal(cursor, PLACE)


def test_a_key_of_a_row_that_is_too_long_is_a_defect() -> None:
    with pytest.raises(AssertionError):
        CursorSealer(NEW).seal("x" * (MAX_ROW_KEY_LENGTH + 1), PLACE)
