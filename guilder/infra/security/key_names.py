"""How what is stored names the encryption key: by another name for each use."""

from guilder.infra.security.crypto import SealingKey
from guilder.infra.security.passwords import Pepper
from guilder.infra.security.signing import TrailKey


def encryption_key_names(secret: bytes) -> dict[str, str]:
    """The names of a version by what is stored under it; none tells anything about the key."""
    return {
        "codes": SealingKey(secret).id.hex(),
        "passwords": Pepper(secret).name,
        "audit_trail": TrailKey(secret).id.hex(),
    }
