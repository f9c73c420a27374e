"""Access tokens: one kind is taken, everything else is refused alike."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from guilder.core.clock import FixedClock
from guilder.core.errors import Unauthenticated
from guilder.core.tokens import ACCESS_SECONDS
from guilder.infra.security.keys import KeyRing
from guilder.infra.security.secrets import FolderSecrets, StaticSecrets, derived_key
from guilder.infra.security.tokens import (
    KEEP_SECONDS,
    AccessTokens,
    RefreshTokens,
)

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


def rings(folder: Path, clock: FixedClock) -> tuple[KeyRing, KeyRing]:
    """The rings of two processes on one folder of keys."""
    store = FolderSecrets(folder, clock)
    store.ensure("secret_key")
    return (
        KeyRing("secret_key", store, clock, KEEP_SECONDS),
        KeyRing("secret_key", store, clock, KEEP_SECONDS),
    )


def signed_by(secret: bytes, **changed: Any) -> str:
    """A token that a thief of a secret makes."""
    stolen = AccessTokens(secret, FixedClock(NOW * 1_000_000))
    return stolen._signed(claims(**changed))


async def test_tokens_outlive_the_rotation_of_their_key_and_no_more(
    tmp_path: Path, clock: FixedClock
) -> None:
    ring, other = rings(tmp_path, clock)
    here, there = AccessTokens(ring, clock), AccessTokens(other, clock)
    first = here.issue(USER, SESSION)
    old = ring.current()
    ring.rotate()
    clock.advance(seconds=6)
    second = here.issue(USER, SESSION)
    assert kid(here) != jwt.get_unverified_header(first)["kid"]
    with pytest.raises(Unauthenticated):
        there.read(second)
    assert there.names_unknown_key(second)
    await there.look_again()
    assert not there.names_unknown_key(second)
    for tokens in (here, there):
        assert {tokens.read(one).user_id for one in (first, second)} == {USER}
    clock.advance(seconds=KEEP_SECONDS)
    at = clock.at_us // 1_000_000
    late = signed_by(old.value, iat=at, nbf=at, exp=at + 60)
    assert AccessTokens(old.value, clock).read(late).user_id == USER
    for tokens in (here, there):
        with pytest.raises(Unauthenticated):
            tokens.read(late)
        assert not tokens.names_unknown_key(late)


async def test_a_token_of_a_dropped_key_is_refused_at_once(
    tmp_path: Path, clock: FixedClock
) -> None:
    ring, other = rings(tmp_path, clock)
    here, there = AccessTokens(ring, clock), AccessTokens(other, clock)
    stolen = signed_by(ring.current().value)
    assert here.read(stolen).user_id == USER
    ring.rotate(revoke=True)
    fresh = here.issue(USER, SESSION)
    assert here.read(fresh).user_id == USER
    with pytest.raises(Unauthenticated):
        here.read(stolen)
    await there.look_again()
    assert there.read(fresh).user_id == USER
    with pytest.raises(Unauthenticated):
        there.read(stolen)


def test_keys_of_the_environment_are_good_until_they_are_taken_out(clock: FixedClock) -> None:
    new, old = b"n" * 40, b"o" * 40
    both = AccessTokens(KeyRing("k", StaticSecrets({"k": (new, old)}), clock, KEEP_SECONDS), clock)
    token = AccessTokens(old, clock).issue(USER, SESSION)
    assert both.read(token).user_id == USER
    assert AccessTokens(new, clock).read(both.issue(USER, SESSION)).user_id == USER
    with pytest.raises(Unauthenticated):
        AccessTokens(new, clock).read(token)


def test_only_a_token_of_our_shape_is_worth_a_look_for_its_key(tokens: AccessTokens) -> None:
    stranger = AccessTokens(b"x" * 32, FixedClock(NOW * 1_000_000)).issue(USER, SESSION)
    assert tokens.names_unknown_key(stranger)
    worth = [name for name, token in forged(tokens).items() if tokens.names_unknown_key(token)]
    assert worth == []
    for odd in ("", ".", "a", "a.b.c", "====.b.c", stranger + "A" * 4096):
        assert not tokens.names_unknown_key(odd)


async def test_a_successor_is_the_same_after_a_rotation(tmp_path: Path, clock: FixedClock) -> None:
    ring, other = rings(tmp_path, clock)
    here, there = RefreshTokens(ring), RefreshTokens(other)
    before = here.new_salt()
    successor = await here.successor("token", before)
    ring.rotate()
    clock.advance(seconds=6)
    assert await here.successor("token", before) == successor
    after = here.new_salt()
    assert len(after) == 32
    assert after[-4:] != before[-4:]
    assert ring.versions[0] not in other.versions
    assert await there.successor("token", after) == await here.successor("token", after)
    assert ring.versions == other.versions
    assert await here.successor("other", after) != await here.successor("token", after)
    ring.rotate(revoke=True)
    assert await here.successor("token", before) is None
