"""Tokens that carry nothing: random text for the client, and its hash for the database."""

import hashlib
import secrets
from typing import Final, Protocol
from uuid import UUID

ACCESS_SECONDS: Final = 15 * 60
"""How long an access token is good."""


def new_opaque_token() -> tuple[str, bytes]:
    """A token of 32 random bytes for the client, and the hash of it for the database."""
    token = secrets.token_urlsafe(32)
    return token, opaque_hash(token)


def opaque_hash(token: str) -> bytes:
    """SHA-256 of a token: it has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).digest()


class AccessTokenIssuer(Protocol):
    """Signs access tokens."""

    def issue(
        self,
        user_id: UUID,
        session_id: UUID,
        version: int = 1,
        *,
        at_us: int | None = None,
        token_id: UUID | None = None,
    ) -> str:
        """A token for a session, good for ``ACCESS_SECONDS`` from now, or from ``at_us``.

        The same arguments give the same token when both ``at_us`` and ``token_id`` are among them.
        """
        ...


class RefreshTokenChain(Protocol):
    """Makes the successor of a refresh token."""

    def new_salt(self) -> bytes:
        """Random bytes for one successor; the last of them tell the key that makes it."""
        ...

    async def successor(self, token: str, salt: bytes) -> str | None:
        """The next token, the same for the same two; None when the key that it needs is gone."""
        ...


class LetterTokenSource(Protocol):
    """Makes the token that a letter brings."""

    def token(self, letter_id: UUID) -> str:
        """The token, the same for the same letter as long as the key stays."""
        ...
