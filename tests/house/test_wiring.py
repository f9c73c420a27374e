"""What a domain has is wired into the house: routers, events, jobs and letters."""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from fastapi import APIRouter

from guilder import domains
from guilder.api.deps import Part
from guilder.api.slices import Slice
from guilder.bootstrap import build_bank, close
from guilder.core.events import Event, Subscriber
from guilder.domains.identity.rules.changes import SecurityChange
from guilder.infra.process.settings import Settings
from guilder.slices import SLICES
from guilder.worker import HOUSEKEEPING

UNHEARD: dict[str, str] = {}
"""Types of events that nobody reacts to yet, and why they are recorded all the same."""

_EXAMPLES = {
    UUID: UUID(int=7), UUID | None: UUID(int=8), str | None: "Firefox", str: "text", int: 7,
    int | None: 7, SecurityChange: SecurityChange.PASSKEY_ADDED,
}  # fmt: skip


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """Every module below a package."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


HOUSE = list(modules(domains))


def routers(found: Iterable[ModuleType]) -> dict[int, str]:
    """Every router by its identity, with a name to find it by."""
    return {
        id(value): f"{module.__name__}.{name}"
        for module in found
        for name, value in vars(module).items()
        if isinstance(value, APIRouter)
    }


def unmounted(found: Iterable[ModuleType], slices: Iterable[Slice]) -> list[str]:
    mounted = {id(router) for one in slices for router in (*one.routers, *one.root_routers)}
    return sorted(name for number, name in routers(found).items() if number not in mounted)


def events(found: Iterable[ModuleType]) -> list[type[Event]]:
    return [
        value
        for module in found
        if module.__name__.endswith(".events")
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]


def unheard(found: Iterable[ModuleType], slices: Iterable[Slice]) -> list[str]:
    heard = {kind for one in slices for subscriber in one.subscribers for kind in subscriber.types}
    return sorted({event.type for event in events(found)} - heard - UNHEARD.keys())


def example(kind: type[Any]) -> Any:
    """An event with a value in every field."""
    hints = get_type_hints(kind)
    return kind(**{name: _EXAMPLES[hints[name]] for name in kind.__slots__})


def doubled(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def test_every_router_is_mounted() -> None:
    assert len(routers(HOUSE)) > 10
    assert unmounted(HOUSE, SLICES) == []


def test_an_unmounted_router_is_found() -> None:
    planted = ModuleType("guilder.domains.cards.routes")
    planted.router = APIRouter()  # type: ignore[attr-defined]
    assert unmounted([*HOUSE, planted], SLICES) == ["guilder.domains.cards.routes.router"]
    without = [replace(one, routers=one.routers[1:]) for one in SLICES]
    assert len(unmounted(HOUSE, without)) >= len([one for one in SLICES if one.routers]) - 1


def test_every_event_is_heard_or_said_not_to_be() -> None:
    assert events(HOUSE)
    assert unheard(HOUSE, SLICES) == []
    assert UNHEARD.keys() <= {event.type for event in events(HOUSE)}


def test_an_event_that_nobody_hears_is_found() -> None:
    without = [replace(one, subscribers=()) for one in SLICES]
    assert unheard(HOUSE, without) == sorted(event.type for event in events(HOUSE))


@pytest.mark.parametrize("kind", events(HOUSE), ids=lambda kind: kind.__name__)
def test_an_event_reads_itself_from_its_payload(kind: type[Event]) -> None:
    event = example(kind)
    assert kind.read(event.payload()) == event


def test_names_are_told_apart() -> None:
    subscribers = [subscriber for one in SLICES for subscriber in one.subscribers]
    jobs = [*HOUSEKEEPING, *(job for one in SLICES for job in one.jobs)]
    letters = [letter for one in SLICES for letter in one.letters]
    assert doubled(event.type for event in events(HOUSE)) == []
    assert doubled(subscriber.name for subscriber in subscribers) == []
    assert doubled(job.name for job in jobs) == []
    assert doubled(f"{letter.package} {letter.name}" for letter in letters) == []
    assert doubled(["a", "b", "a"]) == ["a"]


def test_a_subscriber_reacts_to_a_type_in_one_way() -> None:
    (subscriber,) = (found for one in SLICES for found in one.subscribers)
    reaction = next(iter(subscriber._reactions.values()))
    with pytest.raises(ValueError, match="twice"):
        Subscriber("twice", reaction, reaction)


async def test_every_part_that_a_route_asks_for_is_there(sqlite_url: str, tmp_path: Path) -> None:
    """Else it is an error at the first request; the composition root says what there is."""
    values = {"env": "test", "data_dir": tmp_path, "database_url": sqlite_url}
    bank = await build_bank(Settings.model_validate(values))
    wanted = {part.kind for part in _parts_asked_for()}
    assert len(wanted) > 5
    assert wanted <= bank.parts.by_class.keys()
    await close(bank)


def _parts_asked_for() -> Iterator[Part[Any]]:
    for module in HOUSE:
        for value in vars(module).values():
            for mark in getattr(value, "__metadata__", ()):
                if isinstance(asked := getattr(mark, "dependency", None), Part):
                    yield asked
