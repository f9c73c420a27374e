"""Signing of the audit trail: a MAC a row, with a key that no database holds."""

import hmac
from collections.abc import Collection

from guilder.core.ports import KeyMissing
from guilder.infra.security.crypto import key_id
from guilder.infra.security.keys import DerivedKeys, KeyRing, ring_of
from guilder.infra.security.secrets import derived_key


class TrailKey:
    """A key made from a version of the encryption key, and how rows name it."""

    def __init__(self, secret: bytes) -> None:
        self.key = derived_key(secret, "audit trail")
        self.id = key_id(self.key)


class RingAuditSigner:
    """Signs with the current key of a ring and again with any; see ``AuditSigner``.

    ``lost`` are the names of keys that are gone for good.
    """

    def __init__(self, keys: KeyRing | bytes, lost: Collection[str] = ()) -> None:
        self._keys = DerivedKeys(ring_of(keys), TrailKey)
        self._lost = frozenset(lost)

    def sign(self, content: bytes) -> tuple[bytes, bytes]:
        """The current key's name and its MAC, HMAC-SHA-256."""
        key = self._keys.current()
        return key.id, hmac.digest(key.key, content, "sha256")

    def sign_again(self, key: bytes, content: bytes) -> bytes | None:
        """The MAC under the key of a name, None under one that is lost. Raises ``KeyMissing``."""
        found = next((one for one in self._keys.all() if one.id == key), None)
        if found is not None:
            return hmac.digest(found.key, content, "sha256")
        if key.hex() in self._lost:
            return None
        raise KeyMissing(f"it names the key {key.hex()}, which is not there")
