"""What authenticators answer: taken when all of it fits, and refused without a word why."""

import contextlib
import json
import random
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from webauthn.helpers import encode_cbor, parse_cbor

from guilder.core.clock import SECOND_US, FixedClock
from guilder.core.passkeys import InvalidPasskeyResponse, NewPasskey
from guilder.infra.security.passkeys import CHALLENGE_US, WebAuthnRelyingParty
from tests.support.authenticator import PRESENT, VERIFIED, Authenticator, b64, unb64

NOW = 1_800_000_000_000_000
HOST = "bank.test"
ORIGIN = "https://bank.test:8443"
APP = "https://app.example"
USER = b"u" * 16
CREATE, ASSERT = "create ada", "assert"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def passkeys(clock: FixedClock) -> WebAuthnRelyingParty:
    return WebAuthnRelyingParty(HOST, [ORIGIN, APP], "Bank", b"k" * 32, clock)


@pytest.fixture
def phone() -> Authenticator:
    return Authenticator(ORIGIN)


def make(passkeys: WebAuthnRelyingParty, phone: Authenticator, **cheat: Any) -> NewPasskey:
    options = passkeys.creation_options(USER, "ada@b.test", [], CREATE)
    return passkeys.verify_registration(phone.create(options, **cheat), CREATE)


def check(
    passkeys: WebAuthnRelyingParty,
    made: NewPasskey,
    answer: dict[str, Any],
    sign_count: int | None = None,
) -> int:
    known = made.sign_count if sign_count is None else sign_count
    return passkeys.verify_assertion(answer, ASSERT, USER, made.public_key, known).sign_count


def test_a_passkey_is_made_and_signs(passkeys: WebAuthnRelyingParty, phone: Authenticator) -> None:
    made = make(passkeys, phone)
    assert made.credential_id == phone.keys[0].id
    assert made.sign_count == 1
    assert made.challenge.ends_at == NOW + CHALLENGE_US
    for count in (2, 3):
        answer = phone.get(passkeys.request_options(ASSERT))
        assert WebAuthnRelyingParty.credential_id(answer) == made.credential_id
        assert check(passkeys, made, answer, count - 1) == count


def test_the_options_ask_for_a_passkey_of_a_verified_user(passkeys: WebAuthnRelyingParty) -> None:
    options = passkeys.creation_options(USER, "ada@b.test", [b"known"], CREATE)
    assert options["rp"] == {"id": "bank.test", "name": "Bank"}
    assert options["user"] == {"id": b64(USER), "name": "ada@b.test", "displayName": "ada@b.test"}
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert [one["id"] for one in options["excludeCredentials"]] == [b64(b"known")]
    assert -7 in [one["alg"] for one in options["pubKeyCredParams"]]
    wanted = passkeys.request_options(ASSERT)
    assert (wanted["rpId"], wanted["userVerification"]) == ("bank.test", "required")
    assert wanted["allowCredentials"] == []
    assert wanted["challenge"] != passkeys.request_options(ASSERT)["challenge"]


@pytest.mark.parametrize(
    "cheat",
    [
        {"origin": "https://bank.test"},
        {"origin": "http://bank.test:8443"},
        {"origin": "https://bank.test.evil.test:8443"},
        {"type": "webauthn.get"},
        {"crossOrigin": True},
        {"flags": PRESENT},
        {"flags": VERIFIED},
        {"challenge": b64(b"c" * 56)},
        {"challenge": ""},
    ],
    ids=str,
)
def test_a_passkey_that_was_made_otherwise_is_refused(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, cheat: dict[str, Any]
) -> None:
    with pytest.raises(InvalidPasskeyResponse):
        make(passkeys, phone, **cheat)


def test_a_passkey_for_another_bank_is_refused(
    passkeys: WebAuthnRelyingParty, phone: Authenticator
) -> None:
    options = passkeys.creation_options(USER, "ada@b.test", [], CREATE)
    options["rp"]["id"] = "evil.test"
    with pytest.raises(InvalidPasskeyResponse):
        passkeys.verify_registration(phone.create(options), CREATE)


@pytest.mark.parametrize(
    "cheat",
    [
        {"origin": "https://evil.test"},
        {"type": "webauthn.create"},
        {"crossOrigin": True},
        {"flags": PRESENT},
        {"flags": VERIFIED},
        {"host": "evil.test"},
        {"user": b"e" * 16},
        {"user": b""},
        {"step": 0},
        {"step": -1},
        {"signer": ec.generate_private_key(ec.SECP256R1())},
        {"challenge": b64(b"c" * 56)},
        {"challenge": "="},
    ],
    ids=lambda cheat: next(iter(cheat)),
)
def test_a_signature_of_anything_else_is_refused(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, cheat: dict[str, Any]
) -> None:
    made = make(passkeys, phone)
    answer = phone.get(passkeys.request_options(ASSERT), **cheat)
    with pytest.raises(InvalidPasskeyResponse):
        check(passkeys, made, answer)


@pytest.mark.parametrize("part", ["clientDataJSON", "authenticatorData", "signature", "userHandle"])
def test_what_was_tampered_with_is_refused(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, part: str
) -> None:
    made = make(passkeys, phone)
    answer = phone.get(passkeys.request_options(ASSERT))
    whole = unb64(answer["response"][part])
    for tampered in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1], b"", whole + b"\0"):
        response = answer["response"] | {part: b64(tampered)}
        with pytest.raises(InvalidPasskeyResponse):
            check(passkeys, made, answer | {"response": response})
    assert check(passkeys, made, answer) == 2


def test_passkeys_that_live_on_several_devices_do_not_count(passkeys: WebAuthnRelyingParty) -> None:
    phone = Authenticator(ORIGIN, counts=False)
    made = make(passkeys, phone)
    for _ in range(2):
        assert check(passkeys, made, phone.get(passkeys.request_options(ASSERT))) == 0
    with pytest.raises(InvalidPasskeyResponse):  # it has counted before: this is a copy
        check(passkeys, made, phone.get(passkeys.request_options(ASSERT)), 5)


def test_a_challenge_ends_after_five_minutes(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, clock: FixedClock
) -> None:
    made = make(passkeys, phone)
    answer = phone.get(passkeys.request_options(ASSERT))
    clock.advance(seconds=CHALLENGE_US // SECOND_US - 1)
    check(passkeys, made, answer)
    clock.advance(seconds=1)
    with pytest.raises(InvalidPasskeyResponse):
        check(passkeys, made, answer)


def test_a_challenge_is_good_for_its_purpose_and_its_bank_alone(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, clock: FixedClock
) -> None:
    options = passkeys.creation_options(USER, "ada@b.test", [], CREATE)
    answer = phone.create(options)
    with pytest.raises(InvalidPasskeyResponse):
        passkeys.verify_registration(answer, "create eve")
    with pytest.raises(InvalidPasskeyResponse):
        WebAuthnRelyingParty(
            HOST, [ORIGIN], "Bank", b"another key".ljust(32), clock
        ).verify_registration(answer, CREATE)
    made = passkeys.verify_registration(answer, CREATE)
    with pytest.raises(InvalidPasskeyResponse):
        check(passkeys, made, phone.get({**options, "rpId": "bank.test"}))
    elsewhere = WebAuthnRelyingParty(
        HOST, [ORIGIN], "Bank", b"k" * 32, clock
    )  # another process with the same key
    assert check(elsewhere, made, phone.get(passkeys.request_options(ASSERT))) >= 2


def test_pages_of_several_origins_may_use_passkeys(passkeys: WebAuthnRelyingParty) -> None:
    phone = Authenticator(APP)
    made = make(passkeys, phone)
    assert check(passkeys, made, phone.get(passkeys.request_options(ASSERT))) == 2
    with pytest.raises(InvalidPasskeyResponse):
        make(passkeys, Authenticator("https://evil.test"))


def test_why_a_passkey_was_refused_is_logged(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, caplog: pytest.LogCaptureFixture
) -> None:
    made = make(passkeys, phone)
    options = passkeys.request_options(ASSERT)
    for answer, reason in (
        (Authenticator("https://evil.test\n").create(creation(passkeys)), "origin"),
        (phone.get(options, crossOrigin=True), "of another origin has embedded"),
        (phone.get(options, user=b"eve"), "another user's"),
        (phone.get(options, flags=PRESENT), "User verification is required"),
        (phone.get({**options, "challenge": b64(b"x" * 56)}), "is not one of ours"),
        ({"rawId": 7}, ""),
    ):
        caplog.clear()
        creates = "attestationObject" in str(answer)
        with pytest.raises(InvalidPasskeyResponse):
            _ = (
                passkeys.verify_registration(answer, CREATE)
                if creates
                else check(passkeys, made, answer)
            )
        (record,) = caplog.records
        said = vars(record)["fields"]["reason"]
        assert reason.lower() in said.lower()
        assert "\n" not in said


def creation(passkeys: WebAuthnRelyingParty) -> dict[str, Any]:
    return passkeys.creation_options(USER, "ada@b.test", [], CREATE)


def garbage() -> list[Any]:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    bytes_ = [
        b"", b"\0", b"\xff" * 40, b"\xa1", b"\x9f" * 5000, b"\xbf\xff", b"\xd8\x1c\x80",
        b"\x5b\x7f" + b"\xff" * 7, b"\x9b\x00\x00\x00\xff" + b"\xff" * 4, encode_cbor([1, 2]),
        encode_cbor({"fmt": "none", "attStmt": {}, "authData": b""}),
        encode_cbor({"fmt": "none", "attStmt": {}, "authData": b"\xff" * 37}),
        encode_cbor({"fmt": 7, "attStmt": [], "authData": b"\x45" * 300}),
        json.dumps(deep).encode(), b'{"type":1,"challenge":2,"origin":3}', b'"x"',
        b"\xef\xbb\xbf{}",
    ]  # fmt: skip
    return [b64(raw) for raw in bytes_] + [None, 7, "\N{EURO SIGN}", "a", {}, []]


@pytest.mark.parametrize("rubbish", garbage(), ids=lambda one: repr(one)[:20])
def test_rubbish_is_refused_wherever_it_stands(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, rubbish: Any
) -> None:
    options = passkeys.creation_options(USER, "ada@b.test", [], CREATE)
    new = phone.create(options)
    made = passkeys.verify_registration(new, CREATE)
    answer = phone.get(passkeys.request_options(ASSERT))
    for part in ("clientDataJSON", "attestationObject"):
        with pytest.raises(InvalidPasskeyResponse):
            passkeys.verify_registration(
                new | {"response": new["response"] | {part: rubbish}}, CREATE
            )
    for part in ("clientDataJSON", "authenticatorData", "signature", "userHandle"):
        with pytest.raises(InvalidPasskeyResponse):
            check(passkeys, made, answer | {"response": answer["response"] | {part: rubbish}})
    for part in ("id", "rawId", "response", "type"):
        with pytest.raises(InvalidPasskeyResponse):
            check(passkeys, made, answer | {part: rubbish})


def test_no_flipped_bytes_break_the_parsers(
    passkeys: WebAuthnRelyingParty, phone: Authenticator
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    options = passkeys.creation_options(USER, "ada@b.test", [], CREATE)
    new = phone.create(options)
    made = passkeys.verify_registration(new, CREATE)
    answer = phone.get(passkeys.request_options(ASSERT))
    for _ in range(1500):
        part = dice.choice(("attestationObject", "clientDataJSON", "authenticatorData"))
        whole = new if part == "attestationObject" else answer
        raw = bytearray(unb64(whole["response"][part]))
        for _ in range(dice.randint(1, 4)):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        broken = whole | {"response": whole["response"] | {part: b64(bytes(raw))}}
        with contextlib.suppress(
            InvalidPasskeyResponse
        ):  # without attestation a key may be another one
            if whole is new:
                passkeys.verify_registration(broken, CREATE)
            else:
                check(passkeys, made, broken)


def test_a_sound_attestation_of_another_kind_is_refused_unread(
    passkeys: WebAuthnRelyingParty, phone: Authenticator
) -> None:
    """Its parsers are not for strangers: FIDO U2F with a certificate, as old keys give it."""
    new = phone.create(passkeys.creation_options(USER, "ada@b.test", [], CREATE))
    attestation = parse_cbor(unb64(new["response"]["attestationObject"]))
    maker = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "maker")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, maker.public_key(), x509.random_serial_number())
        .not_valid_before(day)
        .not_valid_after(day + timedelta(days=9999))
        .sign(maker, SHA256())
    )
    public = phone.keys[0].private.public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    client_data = sha256(unb64(new["response"]["clientDataJSON"])).digest()
    signed = b"\0" + attestation["authData"][:32] + client_data + phone.keys[0].id + point
    statement = {
        "sig": maker.sign(signed, ec.ECDSA(SHA256())),
        "x5c": [certificate.public_bytes(Encoding.DER)],
    }
    whole = encode_cbor(attestation | {"fmt": "fido-u2f", "attStmt": statement})
    response = new["response"] | {"attestationObject": b64(whole)}
    with pytest.raises(InvalidPasskeyResponse):
        passkeys.verify_registration(new | {"response": response}, CREATE)


@pytest.mark.parametrize("fmt", ["tpm", "android-key", "fido-u2f", "apple", "new", 7, None])
def test_an_attestation_that_nobody_asked_for_is_refused(
    passkeys: WebAuthnRelyingParty, phone: Authenticator, fmt: object
) -> None:
    new = phone.create(passkeys.creation_options(USER, "ada@b.test", [], CREATE))
    attestation = parse_cbor(unb64(new["response"]["attestationObject"]))
    for changed in (attestation | {"fmt": fmt}, attestation | {"attStmt": {"sig": b"x"}}):
        response = new["response"] | {"attestationObject": b64(encode_cbor(changed))}
        with pytest.raises(InvalidPasskeyResponse):
            passkeys.verify_registration(new | {"response": response}, CREATE)


@pytest.mark.parametrize("rubbish", [7, "a", "\N{EURO SIGN}"])
def test_what_has_no_name_is_no_passkey(rubbish: Any) -> None:
    for credential in ({"rawId": rubbish}, {}):
        with pytest.raises(InvalidPasskeyResponse):
            WebAuthnRelyingParty.credential_id(credential)
