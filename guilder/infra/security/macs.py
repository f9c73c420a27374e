"""MACs of secrets: what tells whether two are the same, and neither of them to anybody."""

import hmac
from collections.abc import Sequence

from guilder.infra.security.keys import DerivedKeys, KeyRing, ring_of
from guilder.infra.security.secrets import derived_key


class SecretMac:
    """HMAC-SHA256 under the keys of a ring, which no database holds.

    For passwords that a fingerprint has to tell apart: a bare hash would let whoever reads the
    database try passwords at full speed. ``purpose`` keeps MACs for other things apart; see
    ``guilder.core.ports.Macs``.
    """

    def __init__(
        self, keys: KeyRing | bytes | Sequence[bytes], purpose: str = "secrets/mac"
    ) -> None:
        self._keys = DerivedKeys(ring_of(keys), lambda key: derived_key(key, purpose))

    def of(self, secret: str) -> list[bytes]:
        """The MACs of a secret: with the current key, then with all others that there are."""
        current, others = self._keys.current(), self._keys.all()
        keys = [current, *(key for key in others if key != current)]
        return [hmac.digest(key, secret.encode(), "sha256") for key in keys]
