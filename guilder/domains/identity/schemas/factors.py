"""Second factors on the wire: what authenticators say is taken as browsers write it."""

import re
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from guilder.api.fields import NOT_A_STRING, InvalidValue, Rule
from guilder.api.replies import JsonObject
from guilder.api.schema import (
    Instant,
    Name100,
    RequestBody,
    ResponseBody,
    Text255,
    integer_rule,
)
from guilder.core.clock import iso_instant
from guilder.domains.identity.rules.factors import Factors, Passkey, base32
from guilder.domains.identity.schemas.logins import Code, KnownPassword
from guilder.domains.identity.services.factors import Enrolment

MAX_BLOB_LENGTH: Final = 16_384
"""Characters of what an authenticator says, in base64url."""


def parse_base64url(value: object) -> str:
    """Bytes as browsers write them: base64url without padding."""
    if type(value) is not str:
        raise InvalidValue(*NOT_A_STRING)
    if len(value) > MAX_BLOB_LENGTH:
        raise InvalidValue("too_long", f"The text must have at most {MAX_BLOB_LENGTH} characters.")
    if not _BASE64URL.fullmatch(value):
        raise InvalidValue("invalid_base64url", "The value must be base64url without padding.")
    return value


_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
_BASE64URL_SCHEMA: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]+$",
    "maxLength": MAX_BLOB_LENGTH,
}

CoseAlgorithm = Annotated[int, integer_rule(-65_536, 65_535)]
Base64Url = Annotated[str, Rule(parse_base64url, _BASE64URL_SCHEMA)]


class TotpConfirmation(RequestBody):
    code: Code


class Credential(RequestBody):
    """A ``PublicKeyCredential`` as its ``toJSON()`` writes it, names included."""

    id: Base64Url
    raw_id: Base64Url = Field(alias="rawId")
    type: Literal["public-key"]
    authenticator_attachment: Text255 | None = Field(None, alias="authenticatorAttachment")
    client_extension_results: dict[str, Any] | None = Field(None, alias="clientExtensionResults")

    def as_browsers_write_it(self) -> dict[str, Any]:
        """The object as ``toJSON()`` wrote it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Attestation(RequestBody):
    """An ``AuthenticatorAttestationResponse``."""

    client_data_json: Base64Url = Field(alias="clientDataJSON")
    attestation_object: Base64Url = Field(alias="attestationObject")
    authenticator_data: Base64Url | None = Field(None, alias="authenticatorData")
    public_key: Base64Url | None = Field(None, alias="publicKey")
    public_key_algorithm: CoseAlgorithm | None = Field(None, alias="publicKeyAlgorithm")
    transports: Annotated[list[Text255], Field(max_length=20)] | None = None


class Assertion(RequestBody):
    """An ``AuthenticatorAssertionResponse``."""

    client_data_json: Base64Url = Field(alias="clientDataJSON")
    authenticator_data: Base64Url = Field(alias="authenticatorData")
    signature: Base64Url
    user_handle: Base64Url | None = Field(None, alias="userHandle")


class NewCredential(Credential):
    response: Attestation


class ProvedCredential(Credential):
    response: Assertion


class PasskeyCreate(RequestBody):
    name: Name100
    credential: NewCredential


class PasskeyLogin(RequestBody):
    credential: ProvedCredential


class StepUpCreate(RequestBody):
    """One of the three."""

    password: KnownPassword | None = None
    totp_code: Code | None = None
    credential: ProvedCredential | None = None

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.password, self.totp_code, self.credential).count(None) != 2:
            message = "Give one of a password, a code and a credential."
            raise InvalidValue("required", message, ("password",)).as_pydantic()
        return self


class TotpOut(ResponseBody):
    secret: str
    otpauth_uri: str
    qr_svg: str


class RecoveryCodesOut(ResponseBody):
    recovery_codes: list[str]


class PasskeyOut(ResponseBody):
    id: UUID
    name: str
    created_at: Instant
    last_used_at: Instant | None


class PasskeyOptionsOut(ResponseBody):
    """``public_key`` is for the browser's ``navigator.credentials``, names included."""

    public_key: dict[str, Any]


class FactorsOut(ResponseBody):
    totp_enabled: bool
    totp_enabled_at: Instant | None
    recovery_codes_left: int
    passkeys: list[PasskeyOut]


class StepUpOut(ResponseBody):
    expires_at: Instant


def totp_body(enrolment: Enrolment) -> JsonObject:
    """The answer to ``POST /users/me/totp``."""
    return {
        "secret": base32(enrolment.secret),
        "otpauth_uri": enrolment.otpauth_uri,
        "qr_svg": enrolment.qr_svg,
    }


def recovery_codes_body(codes: list[str]) -> JsonObject:
    """Recovery codes, which are shown once."""
    return {"recovery_codes": codes}


def factors_body(factors: Factors) -> JsonObject:
    """The answer to ``GET /users/me/factors``."""
    enabled_at = None if factors.totp is None else factors.totp.confirmed_at
    return {
        "totp_enabled": factors.totp is not None,
        "totp_enabled_at": None if enabled_at is None else iso_instant(enabled_at),
        "recovery_codes_left": factors.recovery_codes_left,
        "passkeys": [passkey_body(one) for one in factors.passkeys],
    }


def passkey_body(passkey: Passkey) -> JsonObject:
    """A passkey as its owner sees it."""
    used_at = passkey.last_used_at
    return {
        "id": passkey.id,
        "name": passkey.name,
        "created_at": iso_instant(passkey.created_at),
        "last_used_at": None if used_at is None else iso_instant(used_at),
    }


def passkey_options_body(options: dict[str, Any]) -> JsonObject:
    """What a browser needs, in the form that it reads."""
    return {"public_key": options}


def step_up_body(expires_at: int) -> JsonObject:
    """Until when a step-up counts."""
    return {"expires_at": iso_instant(expires_at)}
