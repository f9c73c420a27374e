"""Passkeys (WebAuthn level 3) as the domains see them: what they ask for, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

type CredentialJson = Mapping[str, Any]
"""What a browser gives, as ``PublicKeyCredential.toJSON()`` writes it."""


class InvalidPasskeyResponse(ValueError):
    """It is no answer to a challenge of ours. Never says why."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge that was answered: its hash, and when it ends."""

    hash: bytes
    ends_at: int


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that an authenticator has made."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    challenge: Challenge


@dataclass(frozen=True, slots=True)
class VerifiedAssertion:
    """A passkey has signed a challenge, and now counts so many signatures."""

    sign_count: int
    challenge: Challenge


class RelyingParty(Protocol):
    """Gives out challenges and checks what authenticators answer to them."""

    def creation_options(
        self, user: bytes, email: str, known: Sequence[bytes], purpose: str
    ) -> dict[str, Any]:
        """What a browser needs to make a passkey for a user who has the ``known`` ones."""
        ...

    def request_options(self, purpose: str) -> dict[str, Any]:
        """What a browser needs to have a challenge signed by whichever passkey its user chooses."""
        ...

    def credential_id(self, credential: CredentialJson) -> bytes:
        """Which passkey it says it is; raises ``InvalidPasskeyResponse``."""
        ...

    def verify_registration(self, credential: CredentialJson, purpose: str) -> NewPasskey:
        """The passkey that was made for a challenge of that purpose.

        Raises ``InvalidPasskeyResponse``.
        """
        ...

    def verify_assertion(
        self,
        credential: CredentialJson,
        purpose: str,
        user: bytes,
        public_key: bytes,
        sign_count: int,
    ) -> VerifiedAssertion:
        """What a known passkey of ``user`` has signed; raises ``InvalidPasskeyResponse``.

        Also for a counter that has not moved on from ``sign_count``: then somebody has a copy of
        the key.
        """
        ...
