"""Key rings: which version is used, which are good, and when a process notices a new one."""

import asyncio
import logging
import threading
from collections.abc import Collection
from pathlib import Path
from time import monotonic

import pytest

from guilder.core.clock import SECOND_US, FixedClock
from guilder.core.ports import SecretStore, SecretsUnavailable, SecretVersion
from guilder.infra.security.keys import (
    MAX_LOOKS,
    DerivedKeys,
    InvalidKeys,
    KeyRing,
    Keys,
    KeyState,
    checked_keys,
    ring_of,
)
from guilder.infra.security.secrets import FolderSecrets, MountedSecrets, StaticSecrets, new_secret
from tests.support.waiting import LONG

NAME = "secret_key"
NOW = 1_800_000_000 * SECOND_US
KEEP = 900
LEAD = 5  # two and a half looks of two seconds
OLD, NEW, NEWER = b"o" * 40, b"n" * 40, b"x" * 40


class Shelf:
    """A fake of the port that counts its readings and can be away or slow."""

    poll_seconds: float | None = 2.0

    def __init__(self, *versions: SecretVersion) -> None:
        self.now = versions
        self.reads = 0
        self.away = False
        self.begun: threading.Event | None = None
        self.go_on: threading.Event | None = None

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        self.reads += 1
        found = self.now
        if self.begun is not None and self.go_on is not None:
            self.begun.set()
            assert self.go_on.wait(10)
        if self.away:
            raise SecretsUnavailable("it is away")
        return found

    def add(self, name: str, value: bytes) -> None:
        self.now = (SecretVersion("added", value, NOW), *self.now)

    def drop(self, name: str, ids: Collection[str]) -> None:
        self.now = tuple(one for one in self.now if one.id not in ids)


def version(value: bytes, at_us: int | None = None) -> SecretVersion:
    return SecretVersion(value[:1].decode(), value, at_us)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


def states(ring: KeyRing) -> list[tuple[str, str]]:
    return [(one.version.id, one.state.value) for one in ring.statuses()]


async def test_a_new_version_is_used_once_everybody_has_seen_it(clock: FixedClock) -> None:
    shelf = Shelf(version(OLD, NOW - 10**12))
    ring = KeyRing(NAME, shelf, clock, KEEP)
    assert ring.current().value == OLD
    shelf.now = (version(NEW, NOW), *shelf.now)
    await ring.look_again()
    assert states(ring) == [("n", "next"), ("o", "current")]
    clock.advance(seconds=LEAD - 1)
    assert ring.current().value == OLD
    clock.advance(seconds=1)
    assert states(ring) == [("n", "current"), ("o", "good")]
    assert ring.current().value == NEW
    clock.advance(seconds=KEEP - 1)
    assert [one.value for one in ring.good()] == [NEW, OLD]
    clock.advance(seconds=1)
    assert states(ring) == [("n", "current"), ("o", "retired")]
    assert [one.value for one in ring.good()] == [NEW]


def test_what_was_followed_long_ago_is_retired_whatever_came_since(clock: FixedClock) -> None:
    since = [NOW - 60 * SECOND_US, NOW - 10**10, NOW - 10**12]
    shelf = Shelf(*(version(one, at) for one, at in zip((NEWER, NEW, OLD), since, strict=True)))
    assert states(KeyRing(NAME, shelf, clock, KEEP)) == [
        ("x", "current"), ("n", "good"), ("o", "retired"),
    ]  # fmt: skip
    assert states(KeyRing(NAME, shelf, clock)) == [("x", "current"), ("n", "good"), ("o", "good")]


def test_a_first_version_is_used_at_once(clock: FixedClock) -> None:
    assert states(KeyRing(NAME, Shelf(version(NEW, NOW)), clock)) == [("n", "current")]


def test_versions_without_dates_are_used_in_their_order_and_stay_good(clock: FixedClock) -> None:
    ring = KeyRing(NAME, StaticSecrets({NAME: (NEW, OLD)}), clock, KEEP)
    clock.advance(days=99)
    assert [(status.state, status.used_at) for status in ring.statuses()] == [
        (KeyState.CURRENT, None), (KeyState.GOOD, None),
    ]  # fmt: skip
    assert ring.current().value == NEW


async def test_a_version_that_appears_without_a_date_is_of_now(
    clock: FixedClock, tmp_path: Path
) -> None:
    path = tmp_path / "mounted"
    path.write_bytes(OLD)
    ring = KeyRing(NAME, MountedSecrets({NAME: path}), clock, KEEP)
    path.write_bytes(NEW + b"\n" + OLD)
    await ring.look_again()
    assert ring.current().value == OLD
    clock.advance(seconds=LEAD)
    assert ring.current().value == NEW
    clock.advance(seconds=KEEP)
    assert [one.value for one in ring.good()] == [NEW]


@pytest.mark.parametrize("given", [(), (b"short",), (NEW, b"short")])
def test_keys_that_cannot_be_used_are_refused(clock: FixedClock, given: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidKeys, match=NAME) as refused:
        KeyRing(NAME, StaticSecrets({NAME: given}), clock)
    assert "short," not in str(refused.value)
    if b"short" in given:
        with pytest.raises(ValueError, match="at least 32 bytes"):
            checked_keys(b",".join(given).decode())


async def test_whoever_meets_an_unknown_key_is_answered_from_a_later_look(
    clock: FixedClock,
) -> None:
    """The look that is under way may have read before the key was there."""
    shelf = Shelf(version(OLD))
    ring = KeyRing(NAME, shelf, clock)
    shelf.begun, shelf.go_on = threading.Event(), threading.Event()
    first = asyncio.create_task(ring.look_again())
    await asyncio.to_thread(shelf.begun.wait, LONG)
    shelf.now = (version(NEW), version(OLD))
    second = asyncio.create_task(ring.look_again())
    await asyncio.sleep(0.05)
    shelf.go_on.set()
    await first
    assert [one.value for one in ring.versions] == [OLD]
    await second
    assert [one.value for one in ring.versions] == [NEW, OLD]


async def test_strangers_cause_few_looks(clock: FixedClock) -> None:
    shelf = Shelf(version(OLD))
    ring = KeyRing(NAME, shelf, clock)
    before, begun = shelf.reads, monotonic()
    for _ in range(3):
        await asyncio.gather(*(ring.look_again() for _ in range(500)))
    assert monotonic() - begun >= 2 * 2.0 / MAX_LOOKS
    assert shelf.reads - before == 3


async def test_one_who_goes_away_does_not_stop_the_look_of_the_others(clock: FixedClock) -> None:
    shelf = Shelf(version(OLD))
    ring = KeyRing(NAME, shelf, clock)
    await ring.look_again()
    gone, stays = (asyncio.create_task(ring.look_again()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    shelf.now = (version(NEW), version(OLD))
    await stays
    assert len(ring.versions) == 2


async def test_where_nothing_can_change_nobody_looks(clock: FixedClock) -> None:
    ring = KeyRing(NAME, StaticSecrets({NAME: (OLD,)}), clock)
    await ring.look_again()
    await asyncio.wait_for(Keys(ring, ring).watch(), LONG)


async def test_a_store_that_is_away_or_empty_takes_nothing_away(
    clock: FixedClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shelf, "poll_seconds", 0.01)
    shelf = Shelf(version(OLD))
    ring = KeyRing(NAME, shelf, clock)
    shelf.away = True
    with caplog.at_level(logging.ERROR):
        await ring.look_again()
        await ring.look_again()
        shelf.away, shelf.now = False, ()
        await ring.look_again()
        shelf.now = (version(b"half"),)
        await ring.look_again()
    assert [record.__dict__["fields"]["problem"] for record in caplog.records] == [
        "it is away", "there is no secret_key", "a version of secret_key is shorter than 32 bytes",
    ]  # fmt: skip
    assert [one.value for one in ring.versions] == [OLD]
    shelf.now = (version(NEW),)
    await ring.look_again()
    assert [one.value for one in ring.versions] == [NEW]


async def test_a_ring_keeps_up_without_being_asked(
    clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(version(OLD))
    monkeypatch.setattr(Shelf, "poll_seconds", 0.02)
    ring, other = (KeyRing(NAME, shelf, clock) for _ in range(2))
    watching = asyncio.create_task(Keys(ring, other).watch())
    shelf.now = (version(NEW), version(OLD))
    async with asyncio.timeout(LONG):
        while len(ring.versions) + len(other.versions) < 4:
            await asyncio.sleep(0.01)
    watching.cancel()


def test_rotating_adds_a_version_and_drops_those_that_are_retired(
    clock: FixedClock, tmp_path: Path
) -> None:
    store: SecretStore = FolderSecrets(tmp_path, clock)
    store.add(NAME, OLD)
    ring = KeyRing(NAME, store, clock, KEEP)
    for number in range(1, 6):
        clock.advance(seconds=KEEP / 2 + 1)
        made = ring.rotate()
        assert ring.versions[0] == made
        assert len(ring.versions) == min(number + 1, 4)
        assert ring.versions == store.versions(NAME)
    assert OLD not in [one.value for one in ring.versions]
    revoked = ring.rotate(revoke=True)
    assert ring.versions == (revoked,) == store.versions(NAME)
    assert ring.current() == revoked


def test_a_ring_that_keeps_for_ever_drops_nothing(clock: FixedClock, tmp_path: Path) -> None:
    store = FolderSecrets(tmp_path, clock)
    store.add(NAME, OLD)
    ring = KeyRing(NAME, store, clock)
    for _ in range(5):
        clock.advance(days=365)
        ring.rotate()
    assert len(ring.versions) == 6
    assert ring.versions[-1].value == OLD


def test_a_new_key_that_cannot_be_read_back_is_told(clock: FixedClock) -> None:
    shelf = Shelf(version(OLD))
    shelf.add = lambda name, value: None  # type: ignore[method-assign]
    with pytest.raises(SecretsUnavailable, match="cannot be read yet"):
        KeyRing(NAME, shelf, clock).rotate()


async def test_something_is_made_of_each_key_once(clock: FixedClock) -> None:
    made: list[bytes] = []

    def make(value: bytes) -> bytes:
        made.append(value)
        return value[:1]

    shelf = Shelf(version(NEW), version(OLD))
    per_key = DerivedKeys(KeyRing(NAME, shelf, clock), make)
    for _ in range(2):
        assert per_key.current() == b"n"
        assert per_key.good() == per_key.all() == [b"n", b"o"]
    assert sorted(made) == [NEW, OLD]
    shelf.now = (version(NEWER), version(NEW))
    await per_key.ring.look_again()
    assert per_key.all() == [b"x", b"n"]
    assert sorted(made) == [NEW, OLD, NEWER]


def test_keys_as_they_are_make_a_ring() -> None:
    first, second = new_secret(), new_secret()
    assert ring_of(first).current().value == first
    assert [one.value for one in ring_of([first, second]).versions] == [first, second]
    ring = ring_of(first)
    assert ring_of(ring) is ring
