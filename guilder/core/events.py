"""The shape of a domain event: a fact in the past tense, stored with the change it tells of."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

type Routes = Mapping[str, tuple[str, ...]]
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
