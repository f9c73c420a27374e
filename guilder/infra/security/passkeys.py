"""Passkeys (WebAuthn level 3): challenges, options for browsers, and what authenticators answer.

A challenge is signed instead of stored: whoever asks for one leaves nothing behind. It ends after
five minutes, and says what for and to whom it was given; that it is used once is for the database
to see to, by its hash.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    options_to_json_dict,
    parse_attestation_object,
    parse_client_data_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from guilder.core.clock import MINUTE_US, Clock
from guilder.core.passkeys import (
    Challenge,
    CredentialJson,
    InvalidPasskeyResponse,
    NewPasskey,
    VerifiedAssertion,
)
from guilder.infra.security.keys import DerivedKeys, KeyRing, ring_of
from guilder.infra.security.secrets import derived_key

CHALLENGE_US: Final = 5 * MINUTE_US
_NONCE_BYTES: Final = 16
_ENDS_BYTES: Final = 8
_MAC_BYTES: Final = 32
_BROWSER_MS: Final = 300_000
"""What the browser is told of the same five minutes."""

_MAX_REASON_LENGTH: Final = 200

_log = logging.getLogger(__name__)

_FORMATS: Final = frozenset((AttestationFormat.NONE, AttestationFormat.PACKED))
"""Kinds of attestation that browsers give who asked for none."""
_NO_PASSKEY: Final = (
    WebAuthnException, UnsupportedAlgorithm, ValueError, TypeError, LookupError, AttributeError,
    ArithmeticError, RecursionError,
)  # fmt: skip
"""What parsers of binary objects raise about one that somebody has made up."""


class WebAuthnRelyingParty:
    """The relying party ``host``, on pages of ``origins``; ``keys`` sign its challenges.

    What is refused is logged with the reason, which nobody else learns.
    """

    def __init__(
        self,
        host: str,
        origins: Sequence[str],
        bank: str,
        keys: KeyRing | bytes,
        clock: Clock,
    ) -> None:
        self.host = host
        self.origins = tuple(origins)
        self._bank = bank
        self._keys = DerivedKeys(ring_of(keys), lambda secret: derived_key(secret, "passkeys"))
        self._clock = clock

    def creation_options(
        self, user: bytes, email: str, known: Sequence[bytes], purpose: str
    ) -> dict[str, Any]:
        """WebAuthn creation options for a user who has the ``known`` passkeys."""
        options = generate_registration_options(
            rp_id=self.host,
            rp_name=self._bank,
            user_id=user,
            user_name=email,
            challenge=self._challenge(purpose),
            timeout=_BROWSER_MS,
            attestation=AttestationConveyancePreference.NONE,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
        )
        return options_to_json_dict(options)

    def request_options(self, purpose: str) -> dict[str, Any]:
        """WebAuthn request options, for whichever passkey the user chooses."""
        options = generate_authentication_options(
            rp_id=self.host,
            challenge=self._challenge(purpose),
            timeout=_BROWSER_MS,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    @staticmethod
    def credential_id(credential: CredentialJson) -> bytes:
        """The credential id in a browser's response.

        Raises ``InvalidPasskeyResponse`` for a malformed one.
        """
        try:
            return base64url_to_bytes(credential["rawId"])
        except (KeyError, TypeError, ValueError) as error:
            raise _refused(error) from None

    def verify_registration(self, credential: CredentialJson, purpose: str) -> NewPasskey:
        """The new passkey.

        Raises ``InvalidPasskeyResponse`` unless it answers a challenge of that purpose.
        """
        try:
            expected = self._answered(credential, purpose)
            attestation = base64url_to_bytes(credential["response"]["attestationObject"])
            if (kind := parse_attestation_object(attestation).fmt) not in _FORMATS:
                raise InvalidPasskeyResponse(f"the attestation is of the format {kind}")
            done = verify_registration_response(
                credential=dict(credential),
                expected_challenge=expected,
                expected_rp_id=self.host,
                expected_origin=list(self.origins),
                require_user_verification=True,
            )
        except _NO_PASSKEY as error:
            raise _refused(error) from error
        challenge = _used(expected)
        return NewPasskey(
            done.credential_id, done.credential_public_key, done.sign_count, challenge
        )

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

        Also without user verification (PIN, finger or face), and for a counter that has not moved
        on from ``sign_count``: then somebody has a copy of the key.
        """
        try:
            expected = self._answered(credential, purpose)
            if base64url_to_bytes(credential["response"]["userHandle"]) != user:
                raise InvalidPasskeyResponse("the passkey says that it is another user's")
            done = verify_authentication_response(
                credential=dict(credential),
                expected_challenge=expected,
                expected_rp_id=self.host,
                expected_origin=list(self.origins),
                credential_public_key=public_key,
                credential_current_sign_count=sign_count,
                require_user_verification=True,
            )
        except _NO_PASSKEY as error:
            raise _refused(error) from error
        return VerifiedAssertion(done.new_sign_count, _used(expected))

    def _challenge(self, purpose: str) -> bytes:
        ends_at = self._clock.now_us() + CHALLENGE_US
        head = secrets.token_bytes(_NONCE_BYTES) + ends_at.to_bytes(_ENDS_BYTES)
        return head + _mac(self._keys.current(), head, purpose)

    def _answered(self, credential: CredentialJson, purpose: str) -> bytes:
        """The challenge in a browser's response.

        Raises ``InvalidPasskeyResponse`` unless it is one of ours, for that purpose, and has not
        ended.
        """
        client = parse_client_data_json(
            base64url_to_bytes(credential["response"]["clientDataJSON"])
        )
        if client.cross_origin:
            raise InvalidPasskeyResponse("a page of another origin has embedded the one that asked")
        challenge = client.challenge
        head, mac = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
        if not any(hmac.compare_digest(mac, _mac(k, head, purpose)) for k in self._keys.good()):
            raise InvalidPasskeyResponse("the challenge is not one of ours for this purpose")
        if _ends_at(challenge) <= self._clock.now_us():
            raise InvalidPasskeyResponse("the challenge has ended")
        return challenge


def _refused(error: Exception) -> InvalidPasskeyResponse:
    """Log why, in one line: what a stranger sends may be in it."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_REASON_LENGTH]
    _log.warning("a passkey was refused", extra={"fields": {"reason": reason}})
    return error if isinstance(error, InvalidPasskeyResponse) else InvalidPasskeyResponse()


def _mac(key: bytes, head: bytes, purpose: str) -> bytes:
    return hmac.digest(key, head + purpose.encode(), hashlib.sha256)


def _ends_at(challenge: bytes) -> int:
    return int.from_bytes(challenge[_NONCE_BYTES : _NONCE_BYTES + _ENDS_BYTES])


def _used(challenge: bytes) -> Challenge:
    return Challenge(hashlib.sha256(challenge).digest(), _ends_at(challenge))
