"""Cursors: where a list goes on, sealed. Nobody can read one, make one or use it elsewhere.

What is inside is the key of a row, and some keys are numbers of the whole bank: whoever could read
them would count what everybody does.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from guilder.core.ports import CannotUnseal
from guilder.infra.security.keys import DerivedKeys, KeyRing, ring_of
from guilder.infra.security.secrets import derived_key

MAX_ROW_KEY_LENGTH: Final = 40
"""Every key is filled up to it: the length of a cursor does not tell that of a number."""
_TAG_BYTES: Final = 16
_PADDING: Final = b"\0"


class CursorSealer:
    """Seals with the current key of a ring and opens with those that are good.

    AES-SIV (RFC 5297): the same place in the same list gives the same cursor, and however many are
    made, no nonce can come twice.
    """

    def __init__(self, keys: KeyRing | bytes) -> None:
        self._keys = DerivedKeys(ring_of(keys), _cipher)

    def seal(self, row_key: str, bound_to: str) -> str:
        """The cursor for the key of a row: ASCII of at most ``MAX_ROW_KEY_LENGTH`` characters."""
        plain = row_key.encode("ascii").ljust(MAX_ROW_KEY_LENGTH, _PADDING)
        assert len(plain) == MAX_ROW_KEY_LENGTH, "the key of a row is too long for a cursor"
        sealed = self._keys.current().encrypt(plain, [bound_to.encode()])
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def unseal(self, cursor: str, bound_to: str) -> str:
        """The key inside. Raises ``CannotUnseal`` for a cursor that was not made for this."""
        try:
            sealed = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            raise CannotUnseal from None
        genuine = len(sealed) == MAX_ROW_KEY_LENGTH + _TAG_BYTES
        if not genuine or urlsafe_b64encode(sealed).rstrip(b"=").decode() != cursor:
            raise CannotUnseal
        for cipher in self._keys.good():
            try:
                return cipher.decrypt(sealed, [bound_to.encode()]).rstrip(_PADDING).decode()
            except InvalidTag:
                continue
        raise CannotUnseal


def _cipher(secret: bytes) -> AESSIV:
    return AESSIV(derived_key(secret, "cursors/mac") + derived_key(secret, "cursors/encryption"))
