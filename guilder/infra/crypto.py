"""Encryption of what the bank must be able to read again: AES-256-GCM (NIST SP 800-38D)."""

import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.core.ports import CannotUnseal

FORMAT: Final = b"g1"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEAD: Final = len(FORMAT) + _ID_BYTES


class AesGcmSealer:
    """Seals with the first of its keys and opens with any; see ``guilder.core.ports.Sealer``.

    A sealed text is ``g1``, 8 bytes that name the key, a random nonce of 12, the ciphertext and its
    tag of 16. Format, key and what it is bound to are authenticated with it.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in reversed(keys)}
        self._current = key_id(keys[0])

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Encrypt and authenticate."""
        head = FORMAT + self._current
        nonce = os.urandom(_NONCE_BYTES)
        bound = head + bound_to.encode()
        return head + nonce + self._ciphers[self._current].encrypt(nonce, plain, bound)

    def unseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The plain text; refuses what was changed, bound to something else, or by a lost key."""
        head, nonce = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES]
        cipher = self._ciphers.get(head[len(FORMAT) :])
        if cipher is None or not head.startswith(FORMAT):
            raise CannotUnseal
        try:
            return cipher.decrypt(nonce, sealed[_HEAD + _NONCE_BYTES :], head + bound_to.encode())
        except (InvalidTag, ValueError):
            raise CannotUnseal from None

    def is_outdated(self, sealed: bytes) -> bool:
        """Whether it was not sealed with today's key, so that it is worth sealing again."""
        return sealed[:_HEAD] != FORMAT + self._current


def key_id(key: bytes) -> bytes:
    """How a key is told apart without being known."""
    return hashlib.sha256(b"guilder key id" + key).digest()[:_ID_BYTES]
