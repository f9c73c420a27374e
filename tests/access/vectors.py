"""Tokens that no operation may take: most have all right but one thing, by the bank's own key.

``refused`` is the one list of them, for the access matrix and for whoever needs a bad token.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from guilder.infra.security.secrets import derived_key

type Headers = list[tuple[bytes, bytes]]

HOUR = 60 * 60
DAY = 24 * HOUR
EVIL = "https://evil.example/keys.json"


@dataclass(frozen=True)
class Vector:
    """What a request brings in place of a good token, and how every operation answers it."""

    name: str
    headers: Headers
    query: str = ""
    status: int = 401
    code: str = "unauthenticated"


@dataclass(frozen=True)
class Known:
    """What an attacker may have got hold of, and more: ``good`` is Ada's, ``secret`` the bank's.

    ``others`` are whole tokens that are no good, by name; ``other_user`` and ``other_session`` are
    sound ids of somebody else.
    """

    good: str
    secret: bytes
    refresh: str
    other_user: str
    other_session: str
    others: dict[str, str]


def refused(known: Known) -> list[Vector]:
    """Every vector; the names are unique."""
    tokens = {
        "a refresh token": known.refresh, "an API key of nobody": "gk_" + "A" * 43,
        **known.others, **_claims(known), **_headers(known), **_keys(known), **_shapes(known),
    }  # fmt: skip
    vectors = [Vector(name, bearer(token)) for name, token in tokens.items()]
    return [*vectors, *_around(known)]


def bearer(token: str) -> Headers:
    """The header that carries a token."""
    return [(b"authorization", b"Bearer " + token.encode("latin-1", "backslashreplace"))]


def b64(value: object) -> str:
    """A part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Mint:
    """The bank's own press."""

    def __init__(self, known: Known) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(derived_key(known.secret, "tokens/ed25519"))
        self.head: dict[str, Any] = jwt.get_unverified_header(known.good)
        self.body: dict[str, Any] = jwt.decode(known.good, options={"verify_signature": False})

    def sign(self, head: object, body: object) -> str:
        """A token of these parts, signed as the bank signs."""
        text = f"{b64(head)}.{b64(body)}"
        return f"{text}.{b64(self.key.sign(text.encode()))}"

    def token(self, head: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token with other claims and members of the header; ``...`` takes one away."""
        return self.sign(_changed(self.head, head or {}), _changed(self.body, claims))


def _changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def _claims(known: Known) -> dict[str, str]:
    """The bank's key and header, and one claim that is not right."""
    mint = Mint(known)
    now = mint.body["iat"]
    numbers, ids = ("exp", "iat", "nbf", "ver"), ("sub", "sid", "jti")
    changes: dict[str, dict[str, Any]] = {
        **{f"without {name}": {name: ...} for name in mint.body},
        **{f"{name} is null": {name: None} for name in mint.body},
        **{f"{name} is a list": {name: [mint.body[name]]} for name in mint.body},
        **{f"{name} is a text": {name: str(mint.body[name])} for name in numbers},
        **{f"{name} is a float": {name: mint.body[name] + 0.5} for name in ("exp", "iat", "nbf")},
        **{f"{name} is true": {name: True} for name in numbers},
        **{f"{name} is 10^30": {name: 10**30} for name in numbers},
        **{f"{name} is no uuid": {name: "1"} for name in ids},
        **{f"{name} is injected": {name: "' OR 1=1 --"} for name in ids},
        **{f"{name} in braces": {name: "{" + mint.body[name] + "}"} for name in ids},
        "expired": {"exp": now - 1, "iat": now - 901, "nbf": now - 901},
        "expired long ago": {"exp": now - DAY, "iat": now - 2 * DAY, "nbf": now - 2 * DAY},
        "expires in a year": {"exp": now + 365 * DAY},
        "not yet valid": {"nbf": now + HOUR},
        "issued in the future": {"iat": now + HOUR},
        "all in the future": {"iat": now + HOUR, "nbf": now + HOUR, "exp": now + HOUR + 900},
        "expiry is negative": {"exp": -1},
        "another issuer's": {"iss": "another"},
        "issuer with a space": {"iss": "guilder "},
        "another audience's": {"aud": "another"},
        "ours among the audiences": {"aud": ["another", "guilder"]},
        "no audience": {"aud": ""},
        "a refresh token's typ": {"typ": "refresh"},
        "typ in capitals": {"typ": "ACCESS"},
        "version 0": {"ver": 0},
        "version -1": {"ver": -1},
        "sub in capitals": {"sub": "A" + mint.body["sub"][1:].upper()},
        "another user's session": {"sub": known.other_user},
        "another user's session id": {"sid": known.other_session},
        "nobody's session": {"sid": str(uuid4())},
        "nobody": {"sub": str(uuid4())},
    }
    return {name: mint.token(**claims) for name, claims in changes.items()}  # fmt: skip


def _headers(known: Known) -> dict[str, str]:
    """The bank's key and claims, and a header that is not ours."""
    mint = Mint(known)
    public = mint.key.public_key().public_bytes_raw()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(public)}
    changes: dict[str, dict[str, Any]] = {
        "without kid": {"kid": ...},
        "kid is null": {"kid": None},
        "kid is a list": {"kid": [mint.head["kid"]]},
        "kid of nobody": {"kid": "0" * 16},
        "kid is empty": {"kid": ""},
        "kid is a path": {"kid": "../../../../dev/null"},
        "kid is SQL": {"kid": "x' UNION SELECT 'k' --"},
        "kid is an address": {"kid": EVIL},
        "kid is a command": {"kid": "|id"},
        "kid with a NUL": {"kid": mint.head["kid"] + "\0"},
        "jku": {"jku": EVIL},
        "x5u": {"x5u": EVIL},
        "x5c": {"x5c": [b64(b"certificate")]},
        "x5t": {"x5t": "AAAA"},
        "jwk": {"jwk": jwk},
        "crit": {"crit": ["exp"]},
        "crit of the unknown": {"crit": ["evil"], "evil": 1},
        "b64 is false": {"b64": False, "crit": ["b64"]},
        "compressed": {"zip": "DEF"},
        "typ of the header is JOSE": {"typ": "JOSE"},
        "without typ of the header": {"typ": ...},
        "cty is JWT": {"cty": "JWT"},
        "without alg": {"alg": ...},
        "alg is null": {"alg": None},
        "alg is EDDSA": {"alg": "EDDSA"},
        "alg is Ed25519": {"alg": "Ed25519"},
        "alg is a list": {"alg": ["EdDSA"]},
    }
    tokens = {name: mint.token(head) for name, head in changes.items()}
    twice = json.dumps(mint.head)[:-1] + ', "alg": "EdDSA"}'
    return {
        **tokens,
        "alg twice": mint.sign(twice.encode(), mint.body),
        "header with spaces": mint.sign(json.dumps(mint.head).encode(), mint.body),
        "header is a list": mint.sign([mint.head], mint.body),
        "header is no JSON": mint.sign(b"alg: EdDSA", mint.body),
        "header is deep": mint.sign(b"[" * 2000, mint.body),
        "header is invalid UTF-8": mint.sign(b'{"alg":"\xff"}', mint.body),
    }


def _keys(known: Known) -> dict[str, str]:
    """Right claims, and a signature that is not the bank's."""
    mint = Mint(known)
    public = mint.key.public_key()
    other = Ed25519PrivateKey.generate()
    rs = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    kid = {"kid": mint.head["kid"]}
    ours = {**mint.head}
    body = b64(mint.body)
    signature = known.good.rpartition(".")[2]
    tokens = {
        "another bank's": jwt.encode(mint.body, other, "EdDSA", headers=kid),
        "another key that it brings along": jwt.encode(
            mint.body, other, "EdDSA",
            headers={**kid, "jwk": {
                "kty": "OKP", "crv": "Ed25519", "x": b64(other.public_key().public_bytes_raw()),
            }},
        ),
        "another key and jku": jwt.encode(mint.body, other, "EdDSA", headers={**kid, "jku": EVIL}),
        "RS256": jwt.encode(mint.body, rs, "RS256", headers=kid),
        "ES256": jwt.encode(mint.body, curve, "ES256", headers=kid),
    }  # fmt: skip
    for alg in ("none", "None", "NONE", "nOnE", ""):
        head = b64({**ours, "alg": alg})
        tokens[f"alg {alg or 'empty'}, unsigned"] = f"{head}.{body}."
        tokens[f"alg {alg or 'empty'}, with our signature"] = f"{head}.{body}.{signature}"
    info = PublicFormat.SubjectPublicKeyInfo
    secrets = {
        "the raw public key": public.public_bytes_raw(),
        "the public key in hex": public.public_bytes_raw().hex().encode(),
        "the public key as PEM": public.public_bytes(Encoding.PEM, info),
        "the public key as DER": public.public_bytes(Encoding.DER, info),
        "the kid": mint.head["kid"].encode(),
        "nothing": b"",
    }  # fmt: skip
    for name, secret in secrets.items():
        for alg in ("HS256", "HS512"):
            text = f"{b64({**ours, 'alg': alg})}.{body}"
            made = jwt.get_algorithm_by_name(alg).sign(text.encode(), secret)
            tokens[f"{alg} by {name}"] = f"{text}.{b64(made)}"
    return tokens


def _shapes(known: Known) -> dict[str, str]:
    """A good token that was cut, stretched or wrapped."""
    mint = Mint(known)
    good = known.good
    head, body, signature = good.split(".")
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(last) ^ 1]  # the same bytes to a reader that is not strict
    inner = json.dumps(mint.body, separators=(",", ":"))
    return {
        "nonsense": "nonsense",
        "null": "null",
        "undefined": "undefined",
        "only dots": "..",
        "without a header": f".{body}.{signature}",
        "without claims": f"{head}..{signature}",
        "without a signature": f"{head}.{body}.",
        "without the last dot": f"{head}.{body}",
        "only the header": head,
        "header cut": f"{head[:-1]}.{body}.{signature}",
        "claims cut": f"{head}.{body[:-1]}.{signature}",
        "signature cut": good[:-1],
        "signature cut in half": good[:-43],
        "a part more": f"{good}.{signature}",
        "an empty part more": f"{good}.",
        "five parts": f"{head}.{body}.{signature}.{body}.{signature}",
        "padded": f"{good}==",
        "padded in the middle": f"{head}.{body}=.{signature}",
        "last bits changed": good[:-1] + twin,
        "a stray character in the signature": f"{head}.{body}.{signature[:9]}!{signature[9:]}",
        "a space in the signature": f"{head}.{body}.{signature[:9]} {signature[9:]}",
        "standard base64": good.replace("-", "+").replace("_", "/") + "+",
        "signature of zeros": f"{head}.{body}.{b64(bytes(64))}",
        "signature twice": f"{head}.{body}.{signature}{signature}",
        "claims of another": f"{head}.{b64({**mint.body, 'sub': known.other_user})}.{signature}",
        "oversized": good + "A" * 4096,
        "oversized, all signed": mint.token(note="x" * 4096),
        "oversized header, signed": mint.token({"note": "x" * 4096}),
        "letters from elsewhere": good[:-1] + "\u0430",
        "accented": good[:-1] + "é",
        "with a NUL": good + "\0",
        "quoted": f'"{good}"',
        "escaped": good.replace(".", "%2e"),
        "as JSON": json.dumps({"token": good}),
        "two, by a comma": f"{good},{good}",
        "two, by a space": f"{good} {good}",
        "claims are a list": mint.sign(mint.head, [mint.body]),
        "claims are a text": mint.sign(mint.head, b'"' + body.encode() + b'"'),
        "claims are no JSON": mint.sign(mint.head, b"sub=1"),
        "claims are invalid UTF-8": mint.sign(mint.head, inner.encode() + b"\xff"),
        "claims are deep": mint.sign(mint.head, b"[" * 2000),
        "claims with NaN": mint.sign(mint.head, inner[:-1].encode() + b',"x":NaN}'),
        "a claim twice": mint.sign(mint.head, b'{"typ":"refresh",' + inner[1:].encode()),
        "the same claim twice": mint.sign(mint.head, inner[:-1].encode() + b',"typ":"access"}'),
        "claims with spaces": mint.sign(mint.head, json.dumps(mint.body).encode()),
        "detached claims": f"{head}..{signature}{body}",
        "nested": mint.sign({**mint.head, "cty": "JWT"}, good.encode()),
        "nested in our header": mint.sign(mint.head, b'"' + good.encode() + b'"'),
        "encrypted": ".".join((b64({"alg": "dir", "enc": "A256GCM"}), "", "AAAA", "BBBB", "CCCC")),
    }  # fmt: skip


def _around(known: Known) -> Iterator[Vector]:
    """A good token, or none, that does not come as a bearer token in one header."""
    good = known.good.encode()
    for scheme in (b"Basic", b"Digest", b"Token", b"JWT", b"Bearer:", b"Bearer=", b"Bearerx", b""):
        told = scheme.decode() or "none"
        yield Vector(f"the scheme is {told}", [(b"authorization", (scheme + b" " + good).strip())])
    yield Vector("no header", [])
    yield Vector("an empty header", [(b"authorization", b"")])
    yield Vector("a scheme alone", [(b"authorization", b"Bearer")])
    yield Vector("a scheme and a space", [(b"authorization", b"Bearer ")])
    yield Vector("a tab between", [(b"authorization", b"Bearer\t" + good)])
    yield Vector("a line end after", [(b"authorization", b"Bearer " + good + b"\n")])
    yield Vector("a huge header", [(b"authorization", b"Bearer " + b"A" * 60_000)])
    yield Vector("in the query", [], query=f"access_token={known.good}")
    yield Vector("in the query as authorization", [], query=f"authorization=Bearer%20{known.good}")
    yield Vector("in a cookie", [(b"cookie", b"access_token=" + good)])
    yield Vector("in another header", [(b"x-authorization", b"Bearer " + good)])
    yield Vector("for a proxy", [(b"proxy-authorization", b"Bearer " + good)])
    twice = [(b"authorization", b"Bearer " + good)] * 2
    yield Vector("the same header twice", twice, status=400, code="duplicate_header")
    yield Vector(
        "a bad header and a good one", [*bearer("nonsense"), *bearer(known.good)],
        status=400, code="duplicate_header",
    )  # fmt: skip
