"""What a domain brings to the house: each says it once, in its ``wiring.py``."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fastapi import APIRouter

from guilder.core.events import Subscriber
from guilder.core.jobs import Job
from guilder.core.letters import LetterTemplate


@dataclass(frozen=True, slots=True)
class Slice:
    """A domain as the application, the composition root and the worker see it.

    ``routers`` stand below ``/api/v1``, in the order of the reference; ``root_routers`` at the root
    and outside the reference. ``tags`` are new ones of the reference, each with what it is about.
    """

    tags: Mapping[str, str] = MappingProxyType({})
    routers: tuple[APIRouter, ...] = ()
    root_routers: tuple[APIRouter, ...] = ()
    subscribers: tuple[Subscriber, ...] = ()
    jobs: tuple[Job, ...] = ()
    letters: tuple[LetterTemplate, ...] = ()
