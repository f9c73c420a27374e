"""Domain events: facts in the past tense, stored with the change they tell of, and who reacts."""

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from guilder.core.parts import Parts

type EventRoutes = Mapping[str, tuple[str, ...]]
"""For each type of event the names of the subscribers that it is delivered to."""


class Event(Protocol):
    """A fact for the outbox: ``type`` names it, ``stream`` orders it, ``payload`` is JSON."""

    type: ClassVar[str]

    @property
    def stream(self) -> str:
        """Events of one stream are delivered in order, e.g. ``account:<id>``."""
        ...

    def payload(self) -> Mapping[str, object]:
        """JSON-serialisable facts, ids and minor units; never a secret."""
        ...

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """The event that a payload was made from, also by an older version of the code."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to one subscriber, for the ``attempt``-th time (the first is 1)."""

    event_id: int
    subscriber: str
    stream: str
    type: str
    payload: Mapping[str, object]
    created_at: int
    attempt: int

    @property
    def key(self) -> str:
        """The same at every attempt and unlike that of any other: tells that it is a repetition.

        The instant is in it because a database made anew counts its events from 1 again.
        """
        facts = f"{self.event_id} {self.created_at} {self.subscriber}"
        return hashlib.sha256(facts.encode()).hexdigest()[:32]


class DeliveryFailed(Exception):
    """Raised by a subscriber; what it says is stored and logged, so it holds no secret."""


class Undeliverable(DeliveryFailed):
    """Trying again is of no use: the delivery is dead at once."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What is done about events of one type."""

    kind: type[Event]
    react: Callable[[Parts, Any, Delivery], Coroutine[Any, Any, object]]


def on[E: Event](
    kind: type[E], react: Callable[[Parts, E, Delivery], Coroutine[Any, Any, object]]
) -> Reaction:
    """The reaction to events of a type. It is called outside any transaction.

    It may be called twice for one event and raises what went wrong, ``Undeliverable`` when trying
    again is of no use.
    """
    return Reaction(kind, react)


class Subscriber:
    """Reacts to events, each type in one way.

    The name is stored with what is due: a new name starts anew. Raises ``ValueError`` for two
    reactions to one type.
    """

    def __init__(self, name: str, *reactions: Reaction) -> None:
        self.name = name
        self._reactions = {reaction.kind.type: reaction for reaction in reactions}
        if len(self._reactions) < len(reactions):
            raise ValueError(f"{name} reacts twice to one type of event")

    @property
    def types(self) -> tuple[str, ...]:
        """The types of events that are delivered here."""
        return tuple(self._reactions)

    async def handle(self, parts: Parts, delivery: Delivery) -> None:
        """React to an event that has arrived."""
        reaction = self._reactions[delivery.type]
        await reaction.react(parts, reaction.kind.read(delivery.payload), delivery)
