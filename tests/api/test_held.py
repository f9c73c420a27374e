"""Bytes of bodies: a caller has a share, all together have a bound, and both come back."""

import pytest

from guilder.api.held import MOST_BYTES, MOST_BYTES_OF_ONE, HeldBytes
from guilder.core.errors import Overloaded


def test_a_caller_cannot_hold_more_than_a_share() -> None:
    held = HeldBytes()
    held.take("ada", MOST_BYTES_OF_ONE)
    with pytest.raises(Overloaded):
        held.take("ada", 1)
    held.take("bob", MOST_BYTES - MOST_BYTES_OF_ONE)
    with pytest.raises(Overloaded):
        held.take("eve", 1)


def test_what_is_given_back_can_be_taken_again() -> None:
    held = HeldBytes()
    for _ in range(3):
        held.take("ada", 1_000)
        held.take("ada", MOST_BYTES_OF_ONE - 1_000)
        held.give_back("ada", MOST_BYTES_OF_ONE)
    held.take("eve", MOST_BYTES_OF_ONE)
