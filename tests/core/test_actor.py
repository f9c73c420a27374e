from dataclasses import FrozenInstanceError, replace
from uuid import UUID

import pytest

from guilder.core.actor import (
    ANONYMOUS,
    FRESH_US,
    SYSTEM,
    Actor,
    FactorDemand,
    require_fresh,
)
from guilder.core.errors import SecondFactorDemanded, StepUpRequired
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


def test_a_proof_is_fresh_for_a_while_and_the_password_no_proof_where_a_factor_is_demanded() -> (
    None
):
    proved = Actor(USER_ID, Role.ADMIN, proved_at=FRESH_US)
    require_fresh(proved, 2 * FRESH_US - 1)
    for stale in (Actor(USER_ID, Role.ADMIN), proved):
        with pytest.raises(StepUpRequired):
            require_fresh(stale, 2 * FRESH_US)
    with pytest.raises(SecondFactorDemanded):
        require_fresh(replace(proved, demand=FactorDemand.PROVE), FRESH_US)


def test_what_nobody_was_given_is_that_of_their_address() -> None:
    assert Actor(USER_ID, Role.USER, ip_address="192.0.2.1").scope == f"user:{USER_ID}"
    assert replace(ANONYMOUS, ip_address="192.0.2.1").scope == "anonymous:192.0.2.1"
