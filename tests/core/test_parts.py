"""Parts are found by their class."""

import pytest

from guilder.core.parts import Parts


class Engine:
    pass


class Wheel:
    pass


def test_a_part_is_found_by_its_class() -> None:
    engine = Engine()
    parts = Parts(engine, Wheel())
    assert parts[Engine] is engine
    assert parts.get(Engine) is engine


def test_what_is_not_there_is_none_or_an_error() -> None:
    parts = Parts(Engine())
    assert parts.get(Wheel) is None
    with pytest.raises(KeyError):
        parts[Wheel]


def test_two_of_one_class_are_refused() -> None:
    with pytest.raises(ValueError, match="one class"):
        Parts(Wheel(), Wheel())
