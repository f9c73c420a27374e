"""Users and sessions on the wire: addresses are normalised, passwords taken as they come."""

from typing import Annotated, Final, Literal, Self
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import ConfigDict, Field, model_validator

from guilder.api.fields import NOT_A_STRING, REQUIRED, InvalidValue, Rule, text_parser
from guilder.api.replies import JsonObject
from guilder.api.schema import (
    MAX_OPAQUE_LENGTH,
    Boolean,
    Count,
    Instant,
    Name100,
    RequestBody,
    ResponseBody,
    Text255,
    integer_rule,
    text_rule,
)
from guilder.core.clock import iso_instant
from guilder.core.permissions import Role
from guilder.core.tokens import ACCESS_SECONDS
from guilder.domains.identity.rules.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from guilder.domains.identity.rules.rotations import MAX_GRACE_SECONDS, Rotation
from guilder.domains.identity.rules.sessions import Session
from guilder.domains.identity.rules.users import User
from guilder.domains.identity.services.authentication import SignedIn

MAX_EMAIL_LENGTH: Final = 254
MAX_CODE_LENGTH: Final = 64
GRANT_TYPES: Final = ("password", "refresh_token")
"""What tokens are given out for, in the words of OAuth2."""
MAX_PASSWORD_READ_LENGTH: Final = 1024
"""Characters of a password that are looked at; the policy on new ones is stricter."""


_text: Final = text_parser(MAX_EMAIL_LENGTH, 1)


def parse_email(value: object) -> str:
    """An address in its normal form: the domain in lower case and Unicode, the rest as given.

    What is before the @ has at most 64 characters: no letter can be written to a longer one.
    """
    text = _text(value)
    try:
        # Names under .test are for tests and demonstrations; nothing is ever sent there.
        return validate_email(
            text, check_deliverability=False, test_environment=True, strict=True
        ).normalized
    except EmailNotValidError:
        raise InvalidValue("invalid_email", "The value must be an e-mail address.") from None


def parse_known_email(value: object) -> str:
    """An address to look up; a malformed one is returned as it is and matches nobody."""
    text = _text(value)
    try:
        return parse_email(text)
    except InvalidValue:
        return text


def parse_password(value: object) -> str:
    """A password, neither trimmed nor otherwise changed."""
    if type(value) is not str:
        raise InvalidValue(*NOT_A_STRING)
    if len(value) > MAX_PASSWORD_READ_LENGTH:
        raise InvalidValue(
            "too_long", f"The text must have at most {MAX_PASSWORD_READ_LENGTH} characters."
        )
    return value


_CODE_SCHEMA: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_CODE_LENGTH,
    "description": "The code that the authenticator app shows, or a recovery code.",
    "examples": ["492039"],
}
_EMAIL_SCHEMA: Final = {
    "type": "string",
    "format": "email",
    "maxLength": MAX_EMAIL_LENGTH,
    "description": "The e-mail address.",
    "examples": ["mila@demo.guilder.dev"],
}
_TOKEN: Final = "q2Vt0mYp3jH8sK5dLx7wZc9bRf1gN4aTu6eQiOoPyDk"  # noqa: S105 - an example
_TOKEN_SCHEMA: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_OPAQUE_LENGTH,
    "examples": [_TOKEN],
}
_NEW_PASSWORD_SCHEMA: Final = {
    "type": "string",
    "format": "password",
    "minLength": MIN_PASSWORD_LENGTH,
    "maxLength": MAX_PASSWORD_LENGTH,
    "description": "The new password: not the e-mail address. No rules of composition.",
    "examples": ["four plain words together"],
}
_PASSWORD_SCHEMA: Final = {
    "type": "string",
    "format": "password",
    "maxLength": MAX_PASSWORD_READ_LENGTH,
    "description": "The password.",
    "examples": ["guilder-demo-2026"],
}

_ACCESS_TOKEN: Final = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI3In0.c2ln"  # noqa: S105 - an example

Email = Annotated[str, Rule(parse_email, _EMAIL_SCHEMA)]
KnownEmail = Annotated[str, Rule(parse_known_email, _EMAIL_SCHEMA)]
NewPassword = Annotated[str, Rule(parse_password, _NEW_PASSWORD_SCHEMA)]
TokenText = Annotated[str, Rule(text_parser(MAX_OPAQUE_LENGTH, 1), _TOKEN_SCHEMA)]
KnownPassword = Annotated[str, Rule(parse_password, _PASSWORD_SCHEMA)]
Code = Annotated[str, Rule(text_parser(MAX_CODE_LENGTH, 1), _CODE_SCHEMA)]


class UserCreate(RequestBody):
    """A new user."""

    email: Email
    password: NewPassword
    full_name: Name100 | None = Field(
        None, description="The name, for people.", examples=["Mila Janssen"]
    )


class SessionCreate(RequestBody):
    """What proves who signs in."""

    email: KnownEmail
    password: KnownPassword
    totp_code: Code | None = None


class Login(RequestBody):
    """OAuth2 by password or refresh token; ``email`` may stand in the place of ``username``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"username": "mila@demo.guilder.dev", "password": "guilder-demo-2026"}]
        }
    )

    username: KnownEmail | None = None
    email: KnownEmail | None = None
    password: KnownPassword | None = None
    totp_code: Code | None = None
    grant_type: Literal["password", "refresh_token"] | None = Field(
        None, description="The flow; by password when it is left out."
    )
    refresh_token: TokenText | None = Field(
        None, description="Instead of address and password: the refresh token, dead once used."
    )
    scope: Text255 | None = Field(None, description="Of the flow; not looked at.")
    client_id: Text255 | None = Field(None, description="Of the flow; not looked at.")
    client_secret: Text255 | None = Field(None, description="Of the flow; not looked at.")

    @property
    def address(self) -> str:
        """The address, under whichever name it came."""
        return self.username or self.email or ""

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if self.grant_type == "refresh_token":
            if self.refresh_token is None:
                raise InvalidValue(*REQUIRED, ("refresh_token",)).as_pydantic()
        elif self.refresh_token is not None:
            message = "A refresh token goes with that grant_type alone."
            raise InvalidValue("not_with_password", message, ("refresh_token",)).as_pydantic()
        elif (self.username is None) == (self.email is None):
            message = "Give either a username or an email."
            raise InvalidValue("required", message, ("username",)).as_pydantic()
        elif self.password is None:
            raise InvalidValue(*REQUIRED, ("password",)).as_pydantic()
        return self


class Revocation(RequestBody):
    """A token that shall be worth nothing."""

    token: Annotated[str, text_rule(MAX_OPAQUE_LENGTH, shortest=1)] = Field(
        description="A refresh token or an access token.", examples=[_TOKEN]
    )
    token_type_hint: Text255 | None = Field(None, description="Which it is; not looked at.")
    client_id: Text255 | None = Field(None, description="Of the flow; not looked at.")
    client_secret: Text255 | None = Field(None, description="Of the flow; not looked at.")


class UserChange(RequestBody):
    """What one may change about oneself."""

    full_name: Name100 | None = Field(
        description="The name, for people; null for none.", examples=["Mila Janssen"]
    )


class AccessChange(RequestBody):
    """What an admin may change; what is left out stays as it is."""

    role: Literal["admin", "user", "readonly"] | None = Field(
        None, description="What the login is for.", examples=["user"]
    )
    is_active: Boolean | None = Field(None, description="Whether they may sign in.")


class RotationCreate(RequestBody):
    """Why, and after which grace, tokens are refused."""

    reason: Annotated[str, text_rule(255, shortest=1)] = Field(
        description="Why, for the audit trail.", examples=["A laptop was stolen."]
    )
    grace_seconds: Annotated[int, integer_rule(0, MAX_GRACE_SECONDS)] = Field(
        0, description="How long old tokens stay good."
    )


class PasswordChange(RequestBody):
    """The old and the new password."""

    current_password: KnownPassword
    new_password: NewPassword


class TokenCreate(RequestBody):
    """The refresh token."""

    refresh_token: TokenText = Field(description="The refresh token; dead once it was used.")
    grant_type: Literal["refresh_token"] | None = Field(None, description="The flow.")
    scope: Text255 | None = Field(None, description="Of the flow; not looked at.")
    client_id: Text255 | None = Field(None, description="Of the flow; not looked at.")
    client_secret: Text255 | None = Field(None, description="Of the flow; not looked at.")


class AddressGiven(RequestBody):
    """Where a letter shall go."""

    email: Email


class TokenGiven(RequestBody):
    """The token of a letter."""

    token: TokenText = Field(description="The token of the letter.")


class PasswordReset(RequestBody):
    """The token of a letter, and the new password."""

    token: TokenText = Field(description="The token of the letter.")
    new_password: NewPassword


class Told(ResponseBody):
    """What the caller is told, the same whoever they are."""

    message: str = Field(
        description="One sentence for people.", examples=["The e-mail address is confirmed."]
    )


class UserOut(ResponseBody):
    """A user."""

    id: UUID = Field(description="The user's id.")
    email: str = Field(description="The e-mail address.", examples=["mila@demo.guilder.dev"])
    full_name: str | None = Field(description="The name, for people.", examples=["Mila Janssen"])
    role: Role = Field(description="What the login is for.", examples=["user"])
    is_active: bool = Field(description="Whether they may sign in.")
    email_verified: bool = Field(description="Whether the address has been proved.")
    created_at: Instant = Field(description="When the user was made.")


class SessionOut(ResponseBody):
    """A session as its owner sees it."""

    id: UUID = Field(description="The session's id.")
    device_info: str | None = Field(
        description="What the client said it is.", examples=["Firefox on Linux"]
    )
    ip_address: str = Field(description="Where it was opened from.", examples=["203.0.113.7"])
    location: str | None = Field(
        None, description="About where that is, if the bank can tell.", examples=["Utrecht, NL"]
    )
    created_at: Instant = Field(description="When it was opened.")
    last_activity_at: Instant = Field(description="When it last signed in or refreshed.")
    expires_at: Instant = Field(description="When it ends if it is not used.")
    is_current: bool = Field(description="Whether it is the one that asks.")
    is_revoked: bool = Field(description="Whether it has been ended.", examples=[False])


class RotationOut(ResponseBody):
    """``user_id`` is null when it is about everybody."""

    version: Count = Field(description="The number of the rotation.", examples=[3])
    user_id: UUID | None = Field(description="Whose tokens are refused.")
    reason: str = Field(description="Why.", examples=["A laptop was stolen."])
    created_at: Instant = Field(description="When it was asked for.")
    effective_at: Instant = Field(description="From when on old tokens are refused.")


class TokensOut(ResponseBody):
    """A pair of tokens."""

    access_token: str = Field(
        description="What proves the session to the API.", examples=[_ACCESS_TOKEN]
    )
    token_type: str = Field("bearer", description="How to send it.", examples=["bearer"])
    refresh_token: str = Field(description="Good for one new pair.", examples=[_TOKEN])
    expires_in: Count = Field(
        ACCESS_SECONDS, description="Seconds for which the access token is good.", examples=[900]
    )


class LoginOut(TokensOut):
    """A pair of tokens, and who has signed in."""

    user: UserOut = Field(description="Who has signed in.")


class SessionCreatedOut(LoginOut):
    """A pair of tokens, who has signed in, and the session."""

    session: SessionOut = Field(description="The session.")


class SignUpOut(UserOut):
    """The new user, signed in; without tokens where the address must be proved first."""

    access_token: str | None = Field(
        None, description="What proves the session to the API.", examples=[_ACCESS_TOKEN]
    )
    token_type: str = Field("bearer", description="How to send it.", examples=["bearer"])
    refresh_token: str | None = Field(None, description="Good for one new pair.", examples=[_TOKEN])
    expires_in: Count | None = Field(
        None, description="Seconds for which the access token is good.", examples=[900]
    )


class ServerMetadata(ResponseBody):
    """What RFC 8414 says of an authorization server."""

    issuer: str = Field(description="The bank's address.", examples=["https://bank.example"])
    token_endpoint: str = Field(
        description="Where tokens are given out.",
        examples=["https://bank.example/api/v1/auth/login"],
    )
    revocation_endpoint: str = Field(
        description="Where tokens are revoked.", examples=["https://bank.example/auth/revoke"]
    )
    service_documentation: str = Field(
        description="The reference, for people.", examples=["https://bank.example/docs"]
    )
    grant_types_supported: list[str] = Field(
        description="What tokens are given out for.", examples=[["password", "refresh_token"]]
    )
    response_types_supported: list[str] = Field(
        description="None, for there is no page to authorize others on.", examples=[[]]
    )
    token_endpoint_auth_methods_supported: list[str] = Field(
        description="How clients prove who they are: not at all.", examples=[["none"]]
    )
    revocation_endpoint_auth_methods_supported: list[str] = Field(
        description="How clients prove who they are: not at all.", examples=[["none"]]
    )


def user_body(user: User) -> JsonObject:
    """A user in the wire form that everybody has."""
    return {
        "id": user.id,
        "email": user.email,
        "full_name": user.full_name,
        "role": user.role,
        "is_active": user.is_active,
        "email_verified": user.email_verified,
        "created_at": iso_instant(user.created_at),
    }


def session_body(session: Session, current: UUID | None) -> JsonObject:
    """A session as its owner sees it, who asks from the session ``current``."""
    return {
        "id": session.id,
        "device_info": session.device_info,
        "ip_address": session.ip_address,
        "location": session.location,
        "created_at": iso_instant(session.created_at),
        "last_activity_at": iso_instant(session.last_activity_at),
        "expires_at": iso_instant(session.expires_at),
        "is_current": session.id == current,
        "is_revoked": session.ended_at is not None,
    }


def rotation_body(rotation: Rotation) -> JsonObject:
    """A rotation in its wire form."""
    return {
        "version": rotation.version,
        "user_id": rotation.user_id,
        "reason": rotation.reason,
        "created_at": iso_instant(rotation.created_at),
        "effective_at": iso_instant(rotation.effective_at),
    }


def login_body(signed_in: SignedIn) -> JsonObject:
    """The answer to ``POST /auth/login``."""
    return {
        "access_token": signed_in.access_token,
        "token_type": "bearer",
        "refresh_token": signed_in.refresh_token,
        "expires_in": ACCESS_SECONDS,
        "user": user_body(signed_in.user),
    }


def created_session_body(signed_in: SignedIn) -> JsonObject:
    """The answer to ``POST /sessions`` and ``POST /tokens``."""
    session = signed_in.session
    return {**login_body(signed_in), "session": session_body(session, session.id)}


def sign_up_body(user: User, signed_in: SignedIn | None = None) -> JsonObject:
    """The answer to ``POST /auth/signup``; without tokens for who is not signed in yet."""
    return {
        **user_body(user),
        "access_token": None if signed_in is None else signed_in.access_token,
        "token_type": "bearer",
        "refresh_token": None if signed_in is None else signed_in.refresh_token,
        "expires_in": None if signed_in is None else ACCESS_SECONDS,
    }


def told_body(message: str) -> JsonObject:
    """What the caller is told, in its wire form."""
    return {"message": message}
