from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.core.ids import NumberCipher, uuid7

KEY = bytes(range(32))
NUMBERS = st.integers(0, 2**62 - 1)
INSTANTS = st.integers(0, (2**48 - 1) * 1000)


@given(INSTANTS)
def test_a_uuid7_has_the_shape_of_rfc_9562(at_us: int) -> None:
    made = uuid7(at_us)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == at_us // 1000


@given(INSTANTS, INSTANTS)
def test_ids_sort_by_the_millisecond_they_were_made_in(a_us: int, b_us: int) -> None:
    if a_us // 1000 < b_us // 1000:
        assert uuid7(a_us) < uuid7(b_us)


def test_ids_of_one_instant_differ() -> None:
    assert len({uuid7(1_790_000_000_000_000) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_is_refused_when_it_has_not_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        NumberCipher(bytes(size))


@given(st.binary(min_size=32, max_size=32), NUMBERS, INSTANTS)
def test_a_number_survives_the_round_trip_under_any_key(
    key: bytes, number: int, at_us: int
) -> None:
    cipher = NumberCipher(key)
    public = UUID(cipher.uuid_text(number, at_us))
    assert cipher.number_of(public) == number
    assert str(public) == cipher.uuid_text(number, at_us)
    assert (public.version, public.variant) == (7, "specified in RFC 4122")
    assert public.int >> 80 == at_us // 1000


@given(NUMBERS, NUMBERS)
def test_two_numbers_never_share_an_id(a: int, b: int) -> None:
    cipher = NumberCipher(KEY)
    assert (cipher.uuid_text(a, 0) == cipher.uuid_text(b, 0)) == (a == b)


def test_neighbours_look_unlike_each_other() -> None:
    cipher = NumberCipher(KEY)
    tails = [UUID(cipher.uuid_text(number, 0)).int & (2**62 - 1) for number in range(1, 200)]
    gaps = {b - a for a, b in pairwise(tails)}
    assert len(gaps) > 190
    assert tails != sorted(tails)


def test_an_id_made_under_another_key_is_refused_or_names_another_number() -> None:
    ours, theirs = NumberCipher(KEY), NumberCipher(bytes(reversed(KEY)))
    found = [ours.number_of(UUID(theirs.uuid_text(n, 0))) for n in range(1, 4_001)]
    assert all(n != number for n, number in enumerate(found, 1))
    assert sum(number is not None for number in found) < 20  # the check has 12 bits: 1 in 4,096


def test_ids_of_other_versions_and_variants_are_refused() -> None:
    cipher = NumberCipher(KEY)
    own = UUID(cipher.uuid_text(7, 1_790_000_000_000_000))
    assert cipher.number_of(uuid4()) is None
    assert cipher.number_of(UUID(int=0)) is None
    assert cipher.number_of(UUID(int=own.int ^ (1 << 63))) is None  # another variant
    assert cipher.number_of(UUID(int=own.int ^ (1 << 62))) is None
    assert cipher.number_of(UUID(int=own.int ^ (1 << 76))) is None  # another version


@given(st.integers(0, 61))
def test_a_changed_digit_never_names_the_same_number(bit: int) -> None:
    cipher = NumberCipher(KEY)
    own = UUID(cipher.uuid_text(42, 0))
    assert cipher.number_of(UUID(int=own.int ^ (1 << bit))) != 42


def test_a_changed_time_shows_when_the_id_is_made_again() -> None:
    cipher = NumberCipher(KEY)
    own = UUID(cipher.uuid_text(42, 1_790_000_000_000_000))
    moved = UUID(int=own.int + (1 << 80))
    number = cipher.number_of(moved)
    assert number == 42
    assert cipher.uuid_text(number, 1_790_000_000_000_000) != str(moved)
