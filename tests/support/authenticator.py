"""An authenticator in software: passkeys with ES256 keys, as a phone and its browser use them."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import encode_cbor

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
AAGUID = bytes(16)


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Key:
    """A passkey on the device."""

    id: bytes
    private: ec.EllipticCurvePrivateKey
    user: bytes
    host: str
    count: int


class Authenticator:
    """Makes passkeys and signs with them; every argument with a default is a way to cheat.

    With ``counts=False`` it is one whose passkeys live on several devices: they stay at zero.
    """

    def __init__(self, origin: str, *, counts: bool = True) -> None:
        self.origin = origin
        self.counts = counts
        self.keys: list[Key] = []

    def create(
        self,
        options: dict[str, Any],
        *,
        flags: int = PRESENT | VERIFIED,
        id_: bytes | None = None,
        **client: Any,
    ) -> dict[str, Any]:
        """Answer ``navigator.credentials.create()``."""
        key = Key(
            id_ or secrets.token_bytes(16),
            ec.generate_private_key(ec.SECP256R1()),
            unb64(options["user"]["id"]),
            options["rp"]["id"],
            1 if self.counts else 0,
        )
        self.keys.append(key)
        public = key.private.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32), -3: public.y.to_bytes(32)}
        attested = AAGUID + len(key.id).to_bytes(2) + key.id + encode_cbor(cose)
        data = _data(key, flags | ATTESTED) + attested
        attestation = encode_cbor({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", options, client)
        response = {"clientDataJSON": b64(client_data), "attestationObject": b64(attestation)}
        return _credential(key, response | {"transports": ["internal"]})

    def get(
        self,
        options: dict[str, Any],
        *,
        key: Key | None = None,
        flags: int = PRESENT | VERIFIED,
        host: str | None = None,
        step: int = 1,
        user: bytes | None = None,
        signer: ec.EllipticCurvePrivateKey | None = None,
        **client: Any,
    ) -> dict[str, Any]:
        """Answer ``navigator.credentials.get()`` with the newest passkey for that host."""
        key = key or next(k for k in reversed(self.keys) if k.host == options["rpId"])
        key.count += step if self.counts else 0
        data = _data(key, flags, host)
        client_data = self._client_data("webauthn.get", options, client)
        signed = data + hashlib.sha256(client_data).digest()
        signature = (signer or key.private).sign(signed, ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": b64(client_data),
            "authenticatorData": b64(data),
            "signature": b64(signature),
            "userHandle": b64(key.user if user is None else user),
        }
        return _credential(key, response)

    def _client_data(self, kind: str, options: dict[str, Any], more: dict[str, Any]) -> bytes:
        challenge = options["challenge"]
        told = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(told | more).encode()


def _data(key: Key, flags: int, host: str | None = None) -> bytes:
    return (
        hashlib.sha256((host or key.host).encode()).digest()
        + bytes([flags])
        + key.count.to_bytes(4)
    )


def _credential(key: Key, response: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": b64(key.id),
        "rawId": b64(key.id),
        "type": "public-key",
        "authenticatorAttachment": "platform",
        "clientExtensionResults": {},
        "response": response,
    }
