"""The key of a delivery: the same at every attempt, another for any other."""

from dataclasses import replace
from uuid import UUID

import pytest

from guilder.core.events import Delivery, Subscriber, on
from guilder.core.parts import Parts
from guilder.domains.identity.events import LoginClosed

FIRST = Delivery(7, "mail", "user:1", "user.created", {"id": 1}, 1_790_000_000_000_000, 1)


def test_a_repetition_has_the_same_key() -> None:
    assert replace(FIRST, attempt=2).key == FIRST.key


def test_another_event_subscriber_or_database_has_another_key() -> None:
    others = [
        replace(FIRST, event_id=8), replace(FIRST, subscriber="log"),
        replace(FIRST, created_at=FIRST.created_at + 1),
    ]  # fmt: skip
    assert len({FIRST.key, *[other.key for other in others]}) == 4


async def react(_parts: Parts, _event: LoginClosed, _delivery: Delivery) -> None:
    """Nothing."""


def test_a_subscriber_reacts_to_an_event_in_one_way() -> None:
    with pytest.raises(ValueError, match="bell reacts twice"):
        Subscriber("bell", on(LoginClosed, react), on(LoginClosed, react))


async def test_a_subscriber_is_handed_what_it_reacts_to() -> None:
    told: list[object] = []

    async def keep(_parts: Parts, event: LoginClosed, _delivery: Delivery) -> None:
        told.append(event)

    closed = LoginClosed(UUID(int=7))
    bell = Subscriber("bell", on(LoginClosed, keep))
    assert bell.types == (LoginClosed.type,)
    await bell.handle(Parts(), replace(FIRST, type=LoginClosed.type, payload=closed.payload()))
    assert told == [closed]
