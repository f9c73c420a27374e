"""Second factors on the wire: what authenticators say is taken as browsers write it."""

import re
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from guilder.api.fields import NOT_A_STRING, InvalidValue, Rule
from guilder.api.replies import JsonObject
from guilder.api.schema import (
    Count,
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
    "examples": ["1X6bSPAtJ8gWs4bXC0sY1A"],
}

CoseAlgorithm = Annotated[int, integer_rule(-65_536, 65_535)]
Base64Url = Annotated[str, Rule(parse_base64url, _BASE64URL_SCHEMA)]


class TotpConfirmation(RequestBody):
    """A code of the app that is being set up."""

    code: Code


class BrowserObject(RequestBody):
    """What a browser gives: members that are not known here are ignored, for some add their own."""

    model_config = ConfigDict(extra="ignore")


class Credential(BrowserObject):
    """A ``PublicKeyCredential`` as its ``toJSON()`` writes it, names included."""

    id: Base64Url = Field(description="The passkey's id.")
    raw_id: Base64Url = Field(alias="rawId", description="The passkey's id once more.")
    type: Literal["public-key"] = Field(description="The kind of credential.")
    authenticator_attachment: Text255 | None = Field(
        None, alias="authenticatorAttachment", description="Whether the device is a part or apart."
    )
    client_extension_results: dict[str, Any] | None = Field(
        None, alias="clientExtensionResults", description="What extensions say; not looked at."
    )

    def as_browsers_write_it(self) -> dict[str, Any]:
        """The object as ``toJSON()`` wrote it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Attestation(BrowserObject):
    """An ``AuthenticatorAttestationResponse``."""

    client_data_json: Base64Url = Field(
        alias="clientDataJSON", description="What the browser signed over."
    )
    attestation_object: Base64Url = Field(
        alias="attestationObject", description="The new key, as the authenticator vouches for it."
    )
    authenticator_data: Base64Url | None = Field(
        None, alias="authenticatorData", description="A part of the attestation; not looked at."
    )
    public_key: Base64Url | None = Field(
        None, alias="publicKey", description="A part of the attestation; not looked at."
    )
    public_key_algorithm: CoseAlgorithm | None = Field(
        None, alias="publicKeyAlgorithm", description="A part of the attestation; not looked at."
    )
    transports: Annotated[list[Text255], Field(max_length=20)] | None = Field(
        None, description="Ways in which the authenticator can be reached."
    )


class Assertion(BrowserObject):
    """An ``AuthenticatorAssertionResponse``."""

    client_data_json: Base64Url = Field(
        alias="clientDataJSON", description="What the browser signed over."
    )
    authenticator_data: Base64Url = Field(
        alias="authenticatorData", description="What the authenticator signed over."
    )
    signature: Base64Url = Field(description="The passkey's signature.")
    user_handle: Base64Url | None = Field(
        None, alias="userHandle", description="Whose passkey it says it is."
    )


class NewCredential(Credential):
    """What `navigator.credentials.create()` gives."""

    response: Attestation = Field(description="The new key.")


class ProvedCredential(Credential):
    """What `navigator.credentials.get()` gives."""

    response: Assertion = Field(description="The signed challenge.")


class PasskeyCreate(RequestBody):
    """A passkey that the browser has made."""

    name: Name100 = Field(description="The owner's name for it.", examples=["My phone"])
    credential: NewCredential = Field(description="What the browser gave.")


class PasskeyLogin(RequestBody):
    """A passkey that has signed a challenge."""

    credential: ProvedCredential = Field(description="What the browser gave.")


class StepUpCreate(RequestBody):
    """One of the three."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"totp_code": "492039"}]})

    password: KnownPassword | None = Field(None, description="The password, if there is no app.")
    totp_code: Code | None = None
    credential: ProvedCredential | None = Field(None, description="What a passkey has signed.")

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.password, self.totp_code, self.credential).count(None) != 2:
            message = "Give one of a password, a code and a credential."
            raise InvalidValue("required", message, ("password",)).as_pydantic()
        return self


class TotpOut(ResponseBody):
    """The secret of an authenticator app, in three forms."""

    secret: str = Field(
        description="The secret in base32, to be typed in.",
        examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"],
    )
    otpauth_uri: str = Field(
        description="The secret as a link that apps open.",
        examples=["otpauth://totp/Guilder:mila?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"],
    )
    qr_svg: str = Field(description="The link as a QR code, an SVG.", examples=["<svg/>"])


class RecoveryCodesOut(ResponseBody):
    """Recovery codes, which are shown once."""

    recovery_codes: list[str] = Field(
        description="The codes; each is good once.", examples=[["k4tw-9x2m-hd7r"]]
    )


class PasskeyOut(ResponseBody):
    """A passkey as its owner sees it."""

    id: UUID = Field(description="The passkey's id here.")
    name: str = Field(description="The owner's name for it.", examples=["My phone"])
    created_at: Instant = Field(description="When it was registered.")
    last_used_at: Instant | None = Field(description="When it last proved something.")


class PasskeyOptionsOut(ResponseBody):
    """``public_key`` is for the browser's ``navigator.credentials``, names included."""

    public_key: dict[str, Any] = Field(
        description="The options, in the form that browsers read.",
        examples=[{"challenge": "1X6bSPAtJ8gWs4bXC0sY1A"}],
    )


class FactorsOut(ResponseBody):
    """What one has beside the password."""

    totp_enabled: bool = Field(description="Whether an authenticator app is set up.")
    totp_enabled_at: Instant | None = Field(description="Since when it is.")
    recovery_codes_left: Count = Field(description="How many recovery codes are unused.")
    passkeys: list[PasskeyOut] = Field(description="The passkeys, newest first.")


class StepUpOut(ResponseBody):
    """Until when a step-up counts."""

    expires_at: Instant = Field(description="When the step-up is forgotten.")


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
