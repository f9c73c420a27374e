"""What a trail says of rows, told row by row: also of one whose beginning was archived."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from guilder.db.digest_proof import CARRY_ACTION, STOCK_ACTION, DigestTrail

A, B, C = "a" * 32, "b" * 32, "c" * 32


def row(action: str = "test.do", detail: Any = None, **digests: Any) -> SimpleNamespace:
    """The row of an outcome that tells of rows of one table."""
    return SimpleNamespace(
        phase="succeeded",
        action=action,
        detail=None if detail is None else json.dumps(detail),
        digests=json.dumps({"t": digests} if digests else {}),
    )


def older() -> SimpleNamespace:
    """One from before digests."""
    return SimpleNamespace(phase="succeeded", action="test.do", detail=None, digests=None)


def followed(*rows: SimpleNamespace, first: int = 1) -> DigestTrail:
    trail = DigestTrail()
    for number, one in enumerate(rows, first):
        trail.follow(number, one)
    return trail


def problem(*rows: SimpleNamespace, first: int = 1) -> str | None:
    """What is wrong in itself, or with rows of which nothing is told at first."""
    trail = followed(*rows, first=first)
    trail.refuse_unknown()
    return None if trail.broken is None else trail.broken.problem


def carried(as_of: int, **digests: str) -> SimpleNamespace:
    return row(CARRY_ACTION, {"last": as_of}, **{name: [one] for name, one in digests.items()})


def test_each_change_goes_on_from_the_one_before() -> None:
    assert problem(row(x=[None, A]), row(x=[A, B]), row(x=[B, None]), row(x=[None, C])) is None
    altered = "it had been altered before row 2 of the trail"
    assert problem(row(x=[None, A]), row(x=[B, C])) == altered
    assert problem(row(x=[None, A]), row(x=[None, A])) == altered
    assert problem(row(x=[A, B])) == "nothing tells of it before row 1 of the trail"


@pytest.mark.parametrize("bent", ["", "[]", '{"t": []}', '{"t": {"x": [1, 2]}}'])
def test_digests_that_cannot_be_read_are_named(bent: str) -> None:
    one = row()
    one.digests = bent
    assert problem(one) == "its digests cannot be read"


def test_stock_is_taken_of_rows_that_are_older_and_of_no_others() -> None:
    complete = {"complete": True}
    assert problem(older(), row(STOCK_ACTION, complete, x=[A]), row(x=[A, B])) is None
    assert problem(older(), row(x=[A, B]), row(STOCK_ACTION, complete, x=[B])) is None
    assert problem(older(), row(x=[A, B]), row(STOCK_ACTION, complete, x=[A])) is None
    assert problem(older(), row(x=[A, None]), row(STOCK_ACTION, complete, x=[A])) is None
    said = "it had been altered before anything was told of it"
    assert problem(older(), row(x=[A, B]), row(STOCK_ACTION, complete, x=[C])) == said
    again = "stock was taken of it when that had long been done"
    late = row(STOCK_ACTION, complete, x=[A])
    assert problem(older(), row(STOCK_ACTION, complete), late) == again
    assert problem(row(), late) == again


def test_an_archive_carries_on_what_was_told_before_it() -> None:
    assert problem(row(x=[A, B]), carried(4, x=A, y=C), first=5) is None
    assert problem(row(x=[A, B]), carried(4, y=C), first=5) == (
        "nothing tells of it before row 5 of the trail"
    )
    assert problem(row(x=[A, B]), carried(4, x=C), first=5) == (
        "it had been altered before anything was told of it"
    )


def test_what_an_earlier_archive_carried_on_is_not_taken_for_now() -> None:
    """It stands in the trail later than rows that a second archive has taken."""
    trail = [row(x=[B, C]), carried(4, x=A), carried(9, x=B)]
    assert problem(*trail, first=10) is None
