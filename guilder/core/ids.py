"""UUID version 7 ids (RFC 9562), and numbers shown to the world under a keyed permutation."""

import secrets
from typing import Final
from uuid import UUID

_RANDOM_BITS: Final = 62
_MASK: Final = (1 << _RANDOM_BITS) - 1
_VARIANT: Final = 0b10 << _RANDOM_BITS
_VERSION: Final = 7 << 76


def uuid7(at_us: int) -> UUID:
    """A random UUIDv7 for the instant ``at_us`` (microseconds since 1970, UTC)."""
    millis = (at_us // 1000) & ((1 << 48) - 1)
    bits = secrets.randbits(74)
    high, low = bits >> _RANDOM_BITS, bits & _MASK
    return UUID(int=millis << 80 | _VERSION | high << 64 | _VARIANT | low)


class NumberCipher:
    """Turns a row's number into its public UUIDv7 and back, so that the id needs no index.

    The number goes through a keyed bijection of 62 bits (three rounds of odd multiplication and
    xor-shift, each invertible modulo 2^62) into the random part of the id; the 12 spare bits hold
    a keyed check. That hides counts and neighbours from clients. It is no access control: every
    read still proves ownership.
    """

    __slots__ = ("_check", "_inverses", "_multipliers", "_offset")

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("the key has 32 bytes")
        words = [int.from_bytes(key[i : i + 8]) for i in (0, 8, 16, 24)]
        self._multipliers = tuple((word & _MASK) | 1 for word in words[:3])
        self._inverses = tuple(pow(m, -1, 1 << _RANDOM_BITS) for m in self._multipliers)
        self._offset = words[3] & _MASK
        self._check = words[3] >> 52

    def uuid_text(self, number: int, at_us: int) -> str:
        """The public id of row ``number`` created at ``at_us``, in canonical text."""
        first, second, third = self._multipliers
        x = ((number + self._offset) * first) & _MASK
        x ^= x >> 31
        x = (x * second) & _MASK
        x ^= x >> 31
        x = (x * third) & _MASK
        check = (x ^ (x >> 24) ^ self._check) & 0xFFF
        h = f"{(at_us // 1000) << 80 | _VERSION | check << 64 | _VARIANT | x:032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"

    def number_of(self, public: UUID) -> int | None:
        """The number inside ``public``; None when this key cannot have made it.

        The caller still compares the id's time with the row's: ``uuid_text`` of the row found
        must give the same id again.
        """
        value = public.int
        x = value & _MASK
        check = (x ^ (x >> 24) ^ self._check) & 0xFFF
        if (value >> 64) & 0xFFFF != (7 << 12 | check) or (value >> _RANDOM_BITS) & 3 != 2:
            return None
        first, second, third = self._inverses
        x = (x * third) & _MASK
        x ^= x >> 31
        x = (x * second) & _MASK
        x ^= x >> 31
        return ((x * first) - self._offset) & _MASK
