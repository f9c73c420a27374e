"""Access tokens: one kind is taken, everything else is refused alike."""

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from guilder.core.clock import FixedClock
from guilder.core.errors import Unauthenticated
from guilder.infra.secrets import derived_key
from guilder.infra.tokens import ACCESS_SECONDS, AccessTokens, new_opaque_token, opaque_hash

SECRET = b"s" * 32
NOW = 1_800_000_000
USER, SESSION = uuid4(), uuid4()
PRIVATE = Ed25519PrivateKey.from_private_bytes(derived_key(SECRET, "tokens/ed25519"))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW * 1_000_000)


@pytest.fixture
def tokens(clock: FixedClock) -> AccessTokens:
    return AccessTokens(SECRET, clock)


def kid(tokens: AccessTokens) -> str:
    found: str = jwt.get_unverified_header(tokens.issue(USER, SESSION))["kid"]
    return found


def claims(**changed: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "exp": NOW + ACCESS_SECONDS,
        "iat": NOW,
        "nbf": NOW,
        "iss": "guilder",
        "aud": "guilder",
        "sub": str(USER),
        "jti": str(uuid4()),
        "sid": str(SESSION),
        "ver": 1,
        "typ": "access",
    }
    return {name: value for name, value in (base | changed).items() if value is not ...}


def signed(tokens: AccessTokens, **changed: Any) -> str:
    """A token with our own signature and other claims."""
    body = json.dumps(claims(**changed), separators=(",", ":")).encode()
    return jwt.api_jws.encode(body, PRIVATE, "EdDSA", headers={"kid": kid(tokens)})


def b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_what_is_issued_is_read(tokens: AccessTokens) -> None:
    read = tokens.read(tokens.issue(USER, SESSION, 7))
    assert (read.user_id, read.session_id, read.version) == (USER, SESSION, 7)
    assert (read.issued_at, read.expires_at) == (NOW, NOW + 900)
    assert isinstance(read.token_id, UUID)
    assert tokens.read(signed(tokens)).user_id == USER


def test_a_token_is_good_for_its_time(tokens: AccessTokens, clock: FixedClock) -> None:
    token = tokens.issue(USER, SESSION)
    clock.advance(seconds=ACCESS_SECONDS - 1)
    tokens.read(token)
    clock.advance(seconds=1)
    with pytest.raises(Unauthenticated):
        tokens.read(token)


def test_the_clocks_of_two_machines_may_differ_a_little(
    tokens: AccessTokens, clock: FixedClock
) -> None:
    token = tokens.issue(USER, SESSION)
    clock.advance(seconds=-5)
    tokens.read(token)


def test_processes_with_one_secret_read_each_others_tokens(clock: FixedClock) -> None:
    token = AccessTokens(SECRET, clock).issue(USER, SESSION)
    assert AccessTokens(SECRET, clock).read(token).user_id == USER


@pytest.mark.parametrize(
    "changed",
    [
        *({name: ...} for name in claims()),
        *({name: None} for name in claims()),
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": str(NOW + 9)},
        {"exp": NOW + 9.5},
        {"exp": True},
        {"exp": -1},
        {"iat": NOW + 60},
        {"nbf": NOW + 60},
        {"iss": "other"},
        {"aud": "other"},
        {"aud": ["guilder"]},
        {"typ": "refresh"},
        {"typ": "ACCESS"},
        {"ver": "1"},
        {"ver": True},
        {"sub": "somebody"},
        {"sub": 5},
        {"sid": "x"},
        {"jti": "x"},
        {"sid": SESSION.hex},
        {"ver": 0},
        {"ver": 2**31},
        {"exp": NOW + ACCESS_SECONDS + 1},
    ],
)
def test_our_signature_on_wrong_claims_is_refused(
    tokens: AccessTokens, changed: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        tokens.read(signed(tokens, **changed))


def forged(tokens: AccessTokens) -> dict[str, str]:
    """Tokens that somebody without the key can make."""
    good = tokens.issue(USER, SESSION)
    header, body, signature = good.split(".")
    other = Ed25519PrivateKey.generate()
    public = PRIVATE.public_key()
    raw_public = public.public_bytes_raw()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ours = {"kid": kid(tokens)}
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(other.public_key().public_bytes_raw())}
    none = b64({"alg": "none", "typ": "JWT", **ours})

    def hmac(key: bytes) -> str:
        text = f"{b64({'alg': 'HS256', 'typ': 'JWT', **ours})}.{body}"
        algorithm = jwt.get_algorithm_by_name("HS256")
        return f"{text}.{b64(algorithm.sign(text.encode(), key))}"

    def by_other(**extra: Any) -> str:
        return jwt.encode(claims(), other, "EdDSA", headers={**ours, **extra})

    return {
        "empty": "",
        "no token": "hello",
        "two parts": f"{header}.{body}",
        "four parts": f"{good}.x",
        "only dots": "..",
        "alg none without signature": f"{none}.{body}.",
        "alg none with signature": f"{none}.{body}.{signature}",
        "alg None": f"{b64({'alg': 'None', 'typ': 'JWT', **ours})}.{body}.",
        "key confusion, raw": hmac(raw_public),
        "key confusion, pem": hmac(pem),
        "HS256, empty key": hmac(b""),
        "another key": by_other(),
        "another key, jwk": by_other(jwk=jwk),
        "another key, jku": by_other(jku="https://evil.example/keys"),
        "another key, x5u": by_other(x5u="https://evil.example/cert"),
        "another kid": jwt.encode(claims(), PRIVATE, "EdDSA", headers={"kid": "x"}),
        "kid path": jwt.encode(claims(), PRIVATE, "EdDSA", headers={"kid": "../../dev/null"}),
        "no kid": jwt.encode(claims(), PRIVATE, "EdDSA"),
        "crit": jwt.encode(claims(), PRIVATE, "EdDSA", headers={**ours, "crit": ["x"], "x": 1}),
        "no signature": f"{header}.{body}.",
        "signature cut": good[:-2],
        "signature of zeros": f"{header}.{body}.{b64(bytes(64))}",
        "claims changed": f"{header}.{b64(claims(sub=str(uuid4())))}.{signature}",
        "claims swapped": f"{header}.{tokens.issue(uuid4(), SESSION).split('.')[1]}.{signature}",
        "oversized": good + "A" * 4096,
        "oversized but signed": signed(tokens, extra="x" * 4096),
        "not ascii": good[:-1] + "é",
        "surrogate": good[:-1] + "\ud800",
        "nul": good + "\0",
        "space": f" {good}",
        "line end": f"{good}\n",
        "deep header": f"{b64(b'[' * 3000)}.{body}.{signature}",
        "deep claims": f"{header}.{b64(b'[' * 2500)}.{signature}",
        "claims no object": jwt.api_jws.encode(b"[1]", PRIVATE, "EdDSA", headers=ours),
    }


@pytest.mark.parametrize("name", forged(AccessTokens(SECRET, FixedClock(NOW * 1_000_000))))
def test_a_forged_token_is_refused(tokens: AccessTokens, name: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens.read(forged(tokens)[name])


def test_the_refusal_says_nothing_about_the_token(tokens: AccessTokens) -> None:
    with pytest.raises(Unauthenticated) as refused:
        tokens.read(signed(tokens, typ="canary"))
    assert refused.value.detail == "A valid access token is required."
    assert refused.value.__suppress_context__


def test_opaque_tokens_are_random_and_known_by_their_hash() -> None:
    token, digest = new_opaque_token()
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert opaque_hash(token) == digest
    assert len(digest) == 32
    assert new_opaque_token()[0] != token
