"""The shape of a domain event: a fact in the past tense, stored with the change it tells of."""

from collections.abc import Mapping
from typing import ClassVar, Protocol


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
