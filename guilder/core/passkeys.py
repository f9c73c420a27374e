"""Passkeys (WebAuthn level 3) as the domains see them: what they ask for, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

type CredentialJson = Mapping[str, Any]
"""What a browser gives, as ``PublicKeyCredential.toJSON()`` writes it."""


class InvalidPasskeyResponse(ValueError):
    """The response does not answer a challenge of ours. Why is for the log, and never for the
    client.
    """


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

    @property
    def origins(self) -> Sequence[str]:
        """Whose pages may use the passkeys."""
        ...

    def creation_options(
        self, user: bytes, email: str, known: Sequence[bytes], purpose: str
    ) -> dict[str, Any]:
        """WebAuthn creation options for a user who has the ``known`` passkeys."""
        ...

    def request_options(self, purpose: str) -> dict[str, Any]:
        """WebAuthn request options, for whichever passkey the user chooses."""
        ...

    def credential_id(self, credential: CredentialJson) -> bytes:
        """The credential id in a browser's response.

        Raises ``InvalidPasskeyResponse`` for a malformed one.
        """
        ...

    def verify_registration(self, credential: CredentialJson, purpose: str) -> NewPasskey:
        """The new passkey.

        Raises ``InvalidPasskeyResponse`` unless it answers a challenge of that purpose.
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
        """The verified signature.

        Raises ``InvalidPasskeyResponse`` unless that user's key has made it.

        Also for a counter that has not moved on from ``sign_count``: then somebody has a copy of
        the key.
        """
        ...
