"""Where secrets are kept on this machine: in settings, in mounted files, in the data folder.

All are a ``guilder.core.ports.SecretStore``. ``guilder.infra.security.aws_secrets`` is one more.
"""

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from guilder.core.clock import Clock
from guilder.core.ports import SecretsReadOnly, SecretsUnavailable, SecretVersion
from guilder.db.files import refuse_foreign_folder
from guilder.infra.files import draft_of

SECRETS_POLL_SECONDS: Final = 2.0
"""How often files are looked at: a glance at a folder costs less than a millisecond."""

_SEPARATORS: Final = re.compile(r"[,\r\n]")
_LATER: Final = re.compile(r"\.(\d{20})\.([0-9a-f]{16})")


def secret_values(text: str) -> tuple[bytes, ...]:
    """The values that a text lists, separated by commas or line ends, the newest first."""
    parts = (part.strip() for part in _SEPARATORS.split(text))
    return tuple(dict.fromkeys(part.encode() for part in parts if part))


def derived_key(secret: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose; keys of different purposes tell nothing about each other."""
    return HKDF(SHA256(), 32, salt=None, info=f"guilder/{purpose}".encode()).derive(secret)


def new_secret() -> bytes:
    """A value that nobody can guess: 48 random bytes as text, so that it can be copied."""
    return secrets.token_urlsafe(48).encode()


class StaticSecrets:
    """Secrets that were handed over at the start, in the environment for example."""

    poll_seconds: float | None = None

    def __init__(self, values: Mapping[str, Sequence[bytes]]) -> None:
        self._versions = {name: tuple(map(_version, given)) for name, given in values.items()}

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """Those that were handed over, in their order."""
        return self._versions.get(name, ())

    def add(self, name: str, value: bytes) -> None:
        """Raises ``SecretsReadOnly``: whoever started us can."""
        raise SecretsReadOnly(_elsewhere(name))

    def drop(self, name: str, ids: Collection[str]) -> None:
        """Raises ``SecretsReadOnly``: whoever started us can."""
        raise SecretsReadOnly(_elsewhere(name))


class MountedSecrets:
    """Secrets in files that somebody else writes, as container platforms mount them."""

    poll_seconds: float | None = SECRETS_POLL_SECONDS

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """The versions that the file lists now, in its order. Raises ``SecretsUnavailable``."""
        path = self._paths.get(name)
        if path is None:
            return ()
        try:
            return tuple(map(_version, secret_values(path.read_text("utf-8"))))
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretsUnavailable(f"{path} cannot be read: {type(error).__name__}") from None

    def add(self, name: str, value: bytes) -> None:
        """Raises ``SecretsReadOnly``: whoever writes the file can."""
        raise SecretsReadOnly(_elsewhere(name))

    def drop(self, name: str, ids: Collection[str]) -> None:
        """Raises ``SecretsReadOnly``: whoever writes the file can."""
        raise SecretsReadOnly(_elsewhere(name))


class FolderSecrets:
    """Secrets that we make ourselves: a folder for its owner only, and in it a file a version.

    The first version is the file of the secret's name, later ones have the instant and their id in
    theirs. Files are made whole and never changed, so there is nothing to lock and nothing to lose.
    """

    poll_seconds: float | None = SECRETS_POLL_SECONDS

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """The versions whose files are there, the latest first. Raises ``SecretsUnavailable``."""
        found = []
        for path, created_at in sorted(self._files(name), key=lambda pair: pair[1], reverse=True):
            try:
                made_at = created_at or path.stat().st_mtime_ns // 1000
                found.append(_version(path.read_bytes().strip(), made_at))
            except FileNotFoundError:
                continue  # dropped since we looked
            except OSError as error:
                raise SecretsUnavailable(f"{path} cannot be read: {error.strerror}") from None
        return tuple(found)

    def ensure(self, name: str) -> None:
        """Make the first version where there is none; of several who try, one does.

        Raises ``ForeignFolder`` where it would be root's in somebody else's folder, as ``add``.
        """
        if not any(self._files(name)):
            self._write(self._folder / name, new_secret())

    def add(self, name: str, value: bytes) -> None:
        """Write it as the file of this instant."""
        instant = f"{self._clock.now_us():020}"
        self._write(self._folder / f"{name}.{instant}.{secrets.token_hex(8)}", value)

    def drop(self, name: str, ids: Collection[str]) -> None:
        """Delete their files."""
        for path, _ in list(self._files(name)):
            with contextlib.suppress(FileNotFoundError):
                if _version(path.read_bytes().strip()).id in ids:
                    path.unlink()
        _sync_folder(self._folder)

    def _files(self, name: str) -> Collection[tuple[Path, int]]:
        """The files of a secret, each with its instant, the first with 0."""
        if not self._folder.is_dir():
            return ()
        found = []
        for path in self._folder.glob(f"{name}*"):
            rest = path.name.removeprefix(name)
            if not rest:
                found.append((path, 0))
            elif match := _LATER.fullmatch(rest):
                found.append((path, int(match[1])))
        return found

    def _write(self, path: Path, value: bytes) -> None:
        """Write a whole file beside ``path`` and link it there, once and never half.

        Nothing happens when it is there: of several who make the first one, all read that of one.
        """
        refuse_foreign_folder(self._folder, self._folder.parent)
        with draft_of(path, value) as draft, contextlib.suppress(FileExistsError):
            os.link(draft, path)
        _sync_folder(self._folder)


def _version(value: bytes, created_at: int | None = None) -> SecretVersion:
    digest = hashlib.sha256(b"guilder secret version" + value).hexdigest()
    return SecretVersion(digest[:16], value, created_at)


def _elsewhere(name: str) -> str:
    setting = f"GUILDER_{name.upper()}"
    return (
        f"{setting} is kept outside of Guilder: put a new key in front of the old one there, "
        "separated by a comma"
    )


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where folders can be synced."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
