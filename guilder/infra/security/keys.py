"""Key rings: the versions of a secret, which of them is used, and which are still good.

A new version is used by nobody before everybody has had time to see it: what one process makes
with it, the others can read. See ``docs/how-to/keys.md``.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Final

from guilder.core.clock import SECOND_US, Clock, SystemClock
from guilder.core.ports import SecretStore, SecretsUnavailable, SecretVersion
from guilder.infra.security.secrets import StaticSecrets, new_secret, secret_values

SECRET_KEY: Final = "secret_key"  # noqa: S105 - a name
ENCRYPTION_KEY: Final = "encryption_key"
MIN_KEY_BYTES: Final = 32
MAX_LOOKS: Final = 8
"""How many looks strangers can cause in the time of an ordinary one, with keys that are none."""
LEAD_POLLS: Final = 2.5
"""How many looks everybody has had before a new version is used."""

_log = logging.getLogger(__name__)


class InvalidKeys(Exception):
    """The keys cannot be used; the text says which and why, never a value."""


class KeyState(StrEnum):
    """What a key is good for."""

    NEXT = "next"
    CURRENT = "current"
    GOOD = "good"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A version and what it is good for; ``used_at`` is since when or from when on it is used."""

    version: SecretVersion
    state: KeyState
    used_at: int | None


class KeyRing:
    """The versions of one secret, as this process has last read them.

    ``keep_seconds`` is how long a version is good once a newer one is used; None is for ever.
    """

    def __init__(
        self, name: str, store: SecretStore, clock: Clock, keep_seconds: int | None = None
    ) -> None:
        self.name = name
        self._store = store
        self._clock = clock
        self._keep_us = None if keep_seconds is None else keep_seconds * SECOND_US
        self._lead_us = int((store.poll_seconds or 0) * LEAD_POLLS * SECOND_US)
        self._look_seconds = (store.poll_seconds or 0) / MAX_LOOKS
        self._looked_at = -self._look_seconds
        self._look: asyncio.Task[None] | None = None
        self._seen_at: dict[str, int] = {}
        self._reading = asyncio.Lock()
        self._problem = ""
        self.versions = _checked(name, store.versions(name))

    def current(self) -> SecretVersion:
        """The newest version that everybody has had time to see."""
        now_us = self._clock.now_us()
        used = (one for one in self.versions if self._used_at(one) <= now_us)
        return next(used, self.versions[-1])

    def good(self) -> tuple[SecretVersion, ...]:
        """What was made with one of these is taken."""
        retired = KeyState.RETIRED
        return tuple(key.version for key in self.statuses() if key.state is not retired)

    def statuses(self) -> list[KeyStatus]:
        """Every version, newest first, and what it is good for now."""
        versions, found = self.versions, []
        current = versions.index(self.current())
        for place, version in enumerate(versions):
            state = KeyState.NEXT if place < current else KeyState.CURRENT
            if place > current:
                state = KeyState.GOOD if self._is_kept(versions[place - 1]) else KeyState.RETIRED
            found.append(KeyStatus(version, state, self._used_at(version) or None))
        return found

    def rotate(self, *, revoke: bool = False) -> SecretVersion:
        """Add a new version, and drop those that are good for nothing any more. Blocks.

        ``revoke`` drops all the others. Raises ``SecretsReadOnly`` and ``SecretsUnavailable``.
        """
        value = new_secret()
        retired = {one.version.id for one in self.statuses() if one.state is KeyState.RETIRED}
        self._store.add(self.name, value)
        self._adopt(self._store.versions(self.name))
        made = next((version for version in self.versions if version.value == value), None)
        if made is None:
            raise SecretsUnavailable("the new key cannot be read yet: see `guilder keys list`")
        gone = {one.id for one in self.versions if one is not made} if revoke else retired
        if gone:
            self._store.drop(self.name, gone)
            self._adopt(self._store.versions(self.name))
        return made

    async def look_again(self) -> None:
        """Read the store, for a caller that has met an unknown key.

        They are answered from a look that began after they asked. However many ask, there are few.
        """
        if self._store.poll_seconds is None:
            return
        if self._look is None:
            self._look = asyncio.create_task(self._look_soon())
        await asyncio.shield(self._look)

    async def watch(self) -> None:
        """Keep up with the store, until cancelled."""
        while self._store.poll_seconds is not None:
            await asyncio.sleep(self._store.poll_seconds)
            await self._read()

    async def _look_soon(self) -> None:
        await asyncio.sleep(self._looked_at + self._look_seconds - monotonic())
        self._look, self._looked_at = None, monotonic()
        await self._read()

    async def _read(self) -> None:
        """Read the store; whatever is wrong with it, what we have stays good."""
        async with self._reading:  # or the older of two readings could be the last to be heard
            try:
                self._adopt(await asyncio.to_thread(self._store.versions, self.name))
                self._problem = ""
            except (SecretsUnavailable, InvalidKeys, OSError) as error:
                if (problem := str(error)) != self._problem:
                    fields = {"name": self.name, "problem": problem}
                    _log.error("keys not read again", extra={"fields": fields})
                self._problem = problem

    def _adopt(self, versions: tuple[SecretVersion, ...]) -> None:
        """Go by what was read; a version without a date that was not there before is of now."""
        checked = _checked(self.name, versions)
        new = {one.id for one in checked} - {one.id for one in self.versions}
        self._seen_at |= dict.fromkeys(new, self._clock.now_us())
        self.versions = checked

    def _used_at(self, version: SecretVersion) -> int:
        """From when on a version may be used; 0 when nobody knows since when it is there."""
        created_at = version.created_at or self._seen_at.get(version.id)
        return 0 if created_at is None else created_at + self._lead_us

    def _is_kept(self, newer: SecretVersion) -> bool:
        """Whether the version before ``newer`` is still good, now that ``newer`` is used."""
        used_at = self._used_at(newer)
        if self._keep_us is None or used_at == 0:
            return True
        return self._clock.now_us() < used_at + self._keep_us


@dataclass(frozen=True, slots=True)
class Keys:
    """The bank's two rings: what signs tokens, and what protects what is stored."""

    signing: KeyRing
    encryption: KeyRing

    async def watch(self) -> None:
        """Keep up with both stores, until cancelled."""
        await asyncio.gather(self.signing.watch(), self.encryption.watch())


class DerivedKeys[T]:
    """Something made of each version of a ring, once."""

    def __init__(self, ring: KeyRing, make: Callable[[bytes], T]) -> None:
        self.ring = ring
        self._make = make
        self._made: dict[str, T] = {}

    def current(self) -> T:
        """That of the version that is used."""
        return self._of(self.ring.current())

    def good(self) -> list[T]:
        """Those of the versions that are good."""
        return [self._of(version) for version in self.ring.good()]

    def all(self) -> list[T]:
        """Those of every version that is there, good or retired."""
        return [self._of(version) for version in self.ring.versions]

    def _of(self, version: SecretVersion) -> T:
        found = self._made.get(version.id)
        if found is None:
            there = {one.id for one in self.ring.versions}
            self._made = {name: made for name, made in self._made.items() if name in there}
            found = self._made[version.id] = self._make(version.value)
        return found


def ring_of(keys: KeyRing | bytes | Sequence[bytes]) -> KeyRing:
    """A ring; keys that are given as they are make one that never changes, the newest first."""
    if isinstance(keys, KeyRing):
        return keys
    given = (keys,) if isinstance(keys, bytes) else tuple(keys)
    return KeyRing("given", StaticSecrets({"given": given}), SystemClock())


def checked_keys(text: str) -> tuple[bytes, ...]:
    """The keys that a text lists, newest first. Raises ``ValueError`` for a short one."""
    keys = secret_values(text)
    if not keys or any(len(key) < MIN_KEY_BYTES for key in keys):
        raise ValueError(f"needs at least {MIN_KEY_BYTES} bytes")
    return keys


def check_key_file(path: Path) -> None:
    """Raises ``ValueError`` for a file that cannot be read or has a short key.

    It shows an absolute path alone: anything else might be the key itself, in the wrong setting.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        named = f"{path} cannot be read" if path.is_absolute() else "the file cannot be read"
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"{named}: {why}") from None
    checked_keys(text)


def _checked(name: str, versions: tuple[SecretVersion, ...]) -> tuple[SecretVersion, ...]:
    if not versions:
        raise InvalidKeys(f"there is no {name}")
    if any(len(version.value) < MIN_KEY_BYTES for version in versions):
        raise InvalidKeys(f"a version of {name} is shorter than {MIN_KEY_BYTES} bytes")
    return versions
