"""Tokens that the bank's keys make: access tokens, successors of refresh tokens, letters' own."""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_decode, base64url_encode

from guilder.core.clock import SECOND_US, Clock
from guilder.core.errors import Unauthenticated
from guilder.core.ids import uuid7
from guilder.core.tokens import ACCESS_SECONDS
from guilder.infra.security.keys import DerivedKeys, KeyRing, ring_of
from guilder.infra.security.secrets import derived_key

MAX_ACCESS_TOKEN_LENGTH: Final = 4096
ALGORITHM: Final = "EdDSA"
ISSUER: Final = "guilder"
AUDIENCE: Final = "guilder"
"""One bank issues and takes its own tokens; the address may change without ending sessions."""
ACCESS: Final = "access"
HIGHEST_VERSION: Final = 2**31 - 1
SKEW_SECONDS: Final = 5
"""How far the clocks of two machines of one bank may be apart."""
KEEP_SECONDS: Final = ACCESS_SECONDS + 60
"""How long a signing key is good once it is followed: until its last token has expired."""

_NUMBERS: Final = ("exp", "iat", "nbf", "ver")
_HEADER: Final = re.compile(rb'\{"alg":"EdDSA","kid":"[0-9a-f]{16}","typ":"JWT"\}')
_SALT_BYTES: Final = 32
_KEY_MARK: Final = 4
"""Bytes at the end of a salt that tell which key a successor was made with."""
_TEXTS: Final = ("iss", "aud", "sub", "jti", "sid", "typ")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says; instants in seconds since 1970."""

    user_id: UUID
    session_id: UUID
    token_id: UUID
    version: int
    issued_at: int
    expires_at: int


class SigningKey:
    """The key pair made from a version of the bank's secret, and the header of its tokens."""

    def __init__(self, secret: bytes) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(derived_key(secret, "tokens/ed25519"))
        self.public = self.private.public_key()
        self.id = hashlib.sha256(self.public.public_bytes_raw()).hexdigest()[:16]
        self.header = self.signed({}).partition(".")[0]

    def signed(self, claims: dict[str, Any]) -> str:
        """A token with these claims."""
        return jwt.encode(claims, self.private, ALGORITHM, headers={"kid": self.id})


class AccessTokens:
    """Issues and reads access tokens: Ed25519 signatures with keys made from the bank's secret.

    A token names its key in ``kid``. The current one signs; those before it are taken for as long
    as tokens of theirs may live.
    """

    def __init__(self, keys: KeyRing | bytes, clock: Clock) -> None:
        self._keys = DerivedKeys(ring_of(keys), SigningKey)
        self._clock = clock

    def issue(
        self,
        user_id: UUID,
        session_id: UUID,
        version: int = 1,
        *,
        at_us: int | None = None,
        token_id: UUID | None = None,
    ) -> str:
        """A token for a session, good for 15 minutes from now, or from ``at_us``.

        The same arguments give the same token when both ``at_us`` and ``token_id`` are among them.
        """
        now_us = self._clock.now_us() if at_us is None else at_us
        now = now_us // SECOND_US
        claims = {
            "exp": now + ACCESS_SECONDS,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "jti": str(token_id or uuid7(now_us)),
            "sid": str(session_id),
            "ver": version,
            "typ": ACCESS,
        }
        return self._signed(claims)

    def read(self, token: str) -> Claims:
        """The claims of a token. Raises ``Unauthenticated`` unless it is wholly as we issue it."""
        try:
            header = token.partition(".")[0] if len(token) <= MAX_ACCESS_TOKEN_LENGTH else None
            key = next((one for one in self._keys.good() if one.header == header), None)
            if key is None:
                raise ValueError("too long, or another algorithm, key or extension")
            # The time is checked below, against our own clock.
            untimed: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
            options: Any = {"require": [*_NUMBERS, *_TEXTS], **untimed}
            claims = jwt.decode(
                token, key.public, [ALGORITHM], options, issuer=ISSUER, audience=AUDIENCE
            )
            rest = token.partition(".")[2]
            if rest != _written(claims, rest.partition(".")[2]):
                raise ValueError("the same to a lenient reader only")
            return self._checked(claims)
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthenticated() from None

    def names_unknown_key(self, token: str) -> bool:
        """Whether a token is as we issue them, but of a key that this process has not seen."""
        header = token.partition(".")[0]
        if len(token) > MAX_ACCESS_TOKEN_LENGTH or not header.isascii():
            return False
        if any(one.header == header for one in self._keys.all()):
            return False
        try:
            decoded = base64.b64decode(header + "==", altchars=b"-_", validate=True)
        except ValueError:
            return False
        return _HEADER.fullmatch(decoded) is not None

    async def look_again(self) -> None:
        """Look for new keys, such as one that another process has begun to sign with."""
        await self._keys.ring.look_again()

    def _signed(self, claims: dict[str, Any]) -> str:
        return self._keys.current().signed(claims)

    def _checked(self, claims: Mapping[str, Any]) -> Claims:
        if any(type(claims[name]) is not int for name in _NUMBERS):
            raise ValueError("a number is none")
        if any(type(claims[name]) is not str for name in _TEXTS) or claims["typ"] != ACCESS:
            raise ValueError("another kind of token")
        if not 1 <= claims["ver"] <= HIGHEST_VERSION:
            raise ValueError("no version of ours")
        if claims["exp"] - claims["iat"] > ACCESS_SECONDS:
            raise ValueError("lives too long")
        now = self._clock.now_us() // SECOND_US
        if claims["exp"] <= now or max(claims["iat"], claims["nbf"]) > now + SKEW_SECONDS:
            raise ValueError("not now")
        return Claims(
            _id(claims["sub"]),
            _id(claims["sid"]),
            _id(claims["jti"]),
            claims["ver"],
            claims["iat"],
            claims["exp"],
        )


def _written(claims: Mapping[str, Any], signature: str) -> str:
    """Claims and signature as we write them: no spaces, no key twice, no padding, no spare bits."""
    body = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
    parts = body, base64url_decode(signature)
    return ".".join(base64url_encode(part).decode() for part in parts)


def _id(text: str) -> UUID:
    """A UUID in its canonical form. Raises ``ValueError`` for braces, prefixes and capitals."""
    if str(found := UUID(text)) != text:
        raise ValueError("not as we write ids")
    return found


class SuccessorKey:
    """The key of successors made from a version of the bank's secret, and its mark in salts."""

    def __init__(self, secret: bytes) -> None:
        self.key = derived_key(secret, "tokens/refresh")
        self.mark = hashlib.sha256(b"guilder salt" + self.key).digest()[:_KEY_MARK]


class RefreshTokens:
    """Makes the successor of a refresh token.

    From the token, a salt and the bank's secret, so that a client that asks twice can be given the
    same one again although only hashes are kept: none of the three alone tells anything about it.
    """

    def __init__(self, keys: KeyRing | bytes) -> None:
        self._keys = DerivedKeys(ring_of(keys), SuccessorKey)

    def new_salt(self) -> bytes:
        """Random bytes for one successor; the last of them tell the key that makes it."""
        return secrets.token_bytes(_SALT_BYTES - _KEY_MARK) + self._keys.current().mark

    async def successor(self, token: str, salt: bytes) -> str | None:
        """The next token: 256 bits that look random. None when the key that it needs is gone.

        A key that this process has not seen, such as one that another has begun to use, is looked
        for.
        """
        key = self._marked(salt)
        if key is None:
            await self._keys.ring.look_again()
            key = self._marked(salt)
        if key is None:
            return None
        made = hmac.digest(key.key, salt + token.encode(), "sha256")
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()

    def _marked(self, salt: bytes) -> SuccessorKey | None:
        return next((one for one in self._keys.all() if salt.endswith(one.mark)), None)


class LetterTokens:
    """Makes the token that a letter brings, again and again the same, from the letter's id.

    So the token stands nowhere but in the letter, and a letter that is sent twice is the same.
    """

    def __init__(self, keys: KeyRing | bytes) -> None:
        self._keys = DerivedKeys(ring_of(keys), lambda secret: derived_key(secret, "tokens/letter"))

    def token(self, letter_id: UUID) -> str:
        """The token: 256 bits that look random; another one once the key was rotated."""
        made = hmac.digest(self._keys.current(), letter_id.bytes, "sha256")
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()
