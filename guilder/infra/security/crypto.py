"""Encryption of what the bank must be able to read again: AES-256-GCM (NIST SP 800-38D)."""

import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.core.ports import CannotUnseal, KeyMissing
from guilder.infra.security.keys import DerivedKeys, KeyRing, ring_of
from guilder.infra.security.secrets import derived_key

FORMAT: Final = b"g1"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEAD: Final = len(FORMAT) + _ID_BYTES


class SealingKey:
    """A key made from a version of the encryption key, and how sealed texts name it."""

    def __init__(self, secret: bytes) -> None:
        key = derived_key(secret, "encryption")
        self.id = key_id(key)
        self.cipher = AESGCM(key)


class AesGcmSealer:
    """Seals with the current key of a ring and opens with any; see ``guilder.core.ports.Sealer``.

    A sealed text is ``g1``, 8 bytes that name the key, a random nonce of 12, the ciphertext and its
    tag of 16. Format, key and what it is bound to are authenticated with it.
    """

    def __init__(self, keys: KeyRing | Sequence[bytes]) -> None:
        self._keys = DerivedKeys(ring_of(keys), SealingKey)

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Encrypt and authenticate."""
        key = self._keys.current()
        head = FORMAT + key.id
        nonce = os.urandom(_NONCE_BYTES)
        bound = head + bound_to.encode()
        return head + nonce + key.cipher.encrypt(nonce, plain, bound)

    def unseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The plain text.

        Raises ``CannotUnseal`` when it was changed or bound elsewhere, and ``KeyMissing`` when it
        names a key that is not there.
        """
        head, rest = sealed[:_HEAD], sealed[_HEAD:]
        nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        key = next((one for one in self._keys.all() if head == FORMAT + one.id), None)
        if key is None:
            if len(head) < _HEAD or not head.startswith(FORMAT):
                raise CannotUnseal
            raise KeyMissing(f"a sealed text names the key {head.removeprefix(FORMAT).hex()}")
        try:
            return key.cipher.decrypt(nonce, ciphertext, head + bound_to.encode())
        except (InvalidTag, ValueError):
            raise CannotUnseal from None

    def is_outdated(self, sealed: bytes) -> bool:
        """Whether it was not sealed with today's key, so that it is worth sealing again."""
        return sealed[:_HEAD] != FORMAT + self._keys.current().id


def key_id(key: bytes) -> bytes:
    """How a key is told apart without being known."""
    return hashlib.sha256(b"guilder key id" + key).digest()[:_ID_BYTES]
