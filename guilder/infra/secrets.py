"""The bank's secret key, and keys for single purposes made from it."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from guilder.infra.settings import SHORTEST_KEY_BYTES, BadSettings, Settings

KEY_FILE: Final = "secret_key"


def secret_key(settings: Settings) -> bytes:
    """The key from the settings, else the one in the data folder, made there on first use.

    In production the settings themselves refuse to be without one.
    """
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    return generated_key(settings.data_dir / "keys")


def generated_key(folder: Path) -> bytes:
    """The key in ``folder``; of several processes that find none, all get that of one of them."""
    path = folder / KEY_FILE
    try:
        key = path.read_bytes().strip()
    except FileNotFoundError:
        key = _create(path)
    if len(key) < SHORTEST_KEY_BYTES:
        raise BadSettings(f"{path} is too short for a key: restore it or delete it")
    return key


def derived_key(secret: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose; keys of different purposes tell nothing about each other."""
    return HKDF(SHA256(), 32, salt=None, info=f"guilder/{purpose}".encode()).derive(secret)


def _create(path: Path) -> bytes:
    """Write a whole key beside ``path`` and link it there: the link is made once and never half."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(48).encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_folder(path.parent)
    return path.read_bytes()


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where folders can be synced."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
