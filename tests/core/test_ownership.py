"""The rule of ownership, for every kind of actor."""

from uuid import UUID

import pytest

from guilder.core.actor import ANONYMOUS, SYSTEM, Actor
from guilder.core.ownership import may_read, owns, sees_everything
from guilder.core.permissions import Role

ADA = UUID("0190a000-0000-7000-8000-000000000001")
BEN = UUID("0190a000-0000-7000-8000-000000000002")


def actor(user_id: UUID, role: Role = Role.USER) -> Actor:
    return Actor(user_id, role)


@pytest.mark.parametrize(
    ("who", "owner", "own", "readable"),
    [
        (actor(ADA), ADA, True, True),
        (actor(ADA), BEN, False, False),
        (actor(ADA), None, False, False),
        (actor(ADA, Role.READONLY), ADA, True, True),
        (actor(ADA, Role.READONLY), BEN, False, False),
        (actor(ADA, Role.ADMIN), BEN, False, True),
        (actor(ADA, Role.ADMIN), None, False, True),
        (ANONYMOUS, ADA, False, False),
        (ANONYMOUS, None, False, False),
        (SYSTEM, ADA, False, True),
    ],
)
def test_what_is_ones_own_and_what_one_may_read(
    who: Actor, owner: UUID | None, own: bool, readable: bool
) -> None:
    assert owns(who, owner) is own
    assert may_read(who, owner) is readable


def test_only_administrators_and_the_bank_see_everything() -> None:
    assert [role for role in Role if sees_everything(actor(ADA, role))] == [Role.ADMIN]
    assert sees_everything(SYSTEM)
    assert not sees_everything(ANONYMOUS)
