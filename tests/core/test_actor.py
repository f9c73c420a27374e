from dataclasses import FrozenInstanceError
from uuid import UUID

import pytest

from guilder.core.actor import ANONYMOUS, SYSTEM, Actor
from guilder.core.permissions import Role

USER_ID = UUID("01999999-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        (ANONYMOUS, "anonymous"),
        (SYSTEM, "system"),
        (Actor(USER_ID, Role.USER), f"user:{USER_ID}"),
        (Actor(USER_ID, None), f"user:{USER_ID}"),
    ],
)
def test_the_audit_trail_names_every_kind_of_actor(actor: Actor, name: str) -> None:
    assert actor.name == name


def test_an_actor_cannot_be_given_another_role() -> None:
    with pytest.raises(FrozenInstanceError):
        ANONYMOUS.role = Role.ADMIN  # type: ignore[misc] # that is what is refused
    assert [*Role] == ["admin", "user", "readonly"]
