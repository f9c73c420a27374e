"""Ports that more than one storey speaks through."""

from typing import Protocol

from guilder.core.rates import Rate, Verdict


class PasswordHasher(Protocol):
    """Hashes and checks passwords; both are slow on purpose and run off the event loop."""

    async def hash(self, password: str) -> str:
        """An encoded hash with its own salt and parameters."""
        ...

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password fits; with None does the same work and says no."""
        ...

    def is_outdated(self, encoded: str) -> bool:
        """Whether today's hash would be made otherwise, and better."""
        ...


class CannotUnseal(ValueError):
    """It was changed, sealed for something else, or with a key that is gone. Never says what."""


class Sealer(Protocol):
    """Encrypts what has to be read again, bound to its place: ``table|column|id`` of the row."""

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """The sealed text; the same plain text gives another one every time."""
        ...

    def unseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The plain text; raises ``CannotUnseal`` where that is not what was sealed for there."""
        ...

    def is_outdated(self, sealed: bytes) -> bool:
        """Whether it was not sealed with today's key, so that it is worth sealing again."""
        ...


class RateLimiter(Protocol):
    """Keeps token buckets. ``guilder.core.rates.take`` is the rule that every store follows."""

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take a token from the bucket of that key; refuses as unavailable when it cannot tell."""
        ...
