"""How many connections come in, and which has to go when there is no room."""

from guilder.infra.process.connections import ConnectionBounds


class Line:
    """A connection that can be cut off."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_an_address_has_no_more_than_its_share() -> None:
    bounds = ConnectionBounds(100, 3)
    lines = [Line() for _ in range(3)]
    assert not any(bounds.enter(line, "192.0.2.1") for line in lines)
    assert bounds.enter(Line(), "192.0.2.1") == "3 of one address are open"
    assert bounds.enter(Line(), "192.0.2.2") is None
    bounds.leave(lines[0])
    assert bounds.enter(Line(), "192.0.2.1") is None
    assert not any(line.aborted for line in lines)


def test_an_address_never_has_more_than_half_of_all() -> None:
    bounds = ConnectionBounds(10, 500)
    assert sum(bounds.enter(Line(), "192.0.2.1") is None for _ in range(20)) == 5


def test_an_address_that_many_come_from_has_no_share() -> None:
    bounds = ConnectionBounds(100, 3, shared=lambda address: address == "10.0.0.1")
    assert not any(bounds.enter(Line(), "10.0.0.1") for _ in range(20))


def test_addresses_of_one_client_are_counted_together() -> None:
    bounds = ConnectionBounds(100, 2, key_of=lambda address: address[:4])
    told = [bounds.enter(Line(), f"2001::{n}") for n in range(3)]
    assert [one is None for one in told] == [True, True, False]


def test_who_has_waited_longest_makes_room() -> None:
    bounds = ConnectionBounds(3, 500)
    lines = [Line() for _ in range(3)]
    for number, line in enumerate(lines):
        assert bounds.enter(line, f"192.0.2.{number}") is None
    bounds.waits(lines[1], waiting=True)
    bounds.waits(lines[0], waiting=True)
    bounds.waits(lines[2], waiting=True)
    bounds.waits(lines[1], waiting=False)
    assert bounds.enter(Line(), "192.0.2.9") is None
    assert [line.aborted for line in lines] == [True, False, False]


def test_where_all_are_at_work_nobody_new_comes_in() -> None:
    bounds = ConnectionBounds(2, 500)
    for number in range(2):
        assert bounds.enter(Line(), f"192.0.2.{number}") is None
    stranger = Line()
    assert bounds.enter(stranger, "192.0.2.9") == "2 are open, and more would leave no file"
    bounds.leave(stranger)
    bounds.waits(stranger, waiting=True)
    assert bounds.enter(Line(), "192.0.2.9") is not None
