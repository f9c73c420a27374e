"""Users and sessions on the wire: addresses are normalised, passwords taken as they come."""

from typing import Annotated, Final, Literal, Self
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import model_validator

from guilder.api.fields import NOT_A_STRING, InvalidValue, Rule, text_parser
from guilder.api.replies import JsonObject
from guilder.api.schema import (
    Boolean,
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
MAX_OPAQUE_TOKEN_LENGTH: Final = 100
MAX_CODE_LENGTH: Final = 64
MAX_PASSWORD_READ_LENGTH: Final = 1024
"""Characters of a password that are looked at; the policy on new ones is stricter."""


_text: Final = text_parser(MAX_EMAIL_LENGTH, 1)


def parse_email(value: object) -> str:
    """An address in its normal form: the domain in lower case and Unicode, the rest as given."""
    text = _text(value)
    try:
        # Names under .test are for tests and demonstrations; nothing is ever sent there.
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
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
}
_EMAIL_SCHEMA: Final = {"type": "string", "format": "email", "maxLength": MAX_EMAIL_LENGTH}
_TOKEN_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": MAX_OPAQUE_TOKEN_LENGTH}
_NEW_PASSWORD_SCHEMA: Final = {
    "type": "string",
    "format": "password",
    "minLength": MIN_PASSWORD_LENGTH,
    "maxLength": MAX_PASSWORD_LENGTH,
    "description": "Not the e-mail address. No rules of composition.",
}
_PASSWORD_SCHEMA: Final = {
    "type": "string",
    "format": "password",
    "maxLength": MAX_PASSWORD_READ_LENGTH,
}

Email = Annotated[str, Rule(parse_email, _EMAIL_SCHEMA)]
KnownEmail = Annotated[str, Rule(parse_known_email, _EMAIL_SCHEMA)]
NewPassword = Annotated[str, Rule(parse_password, _NEW_PASSWORD_SCHEMA)]
TokenText = Annotated[str, Rule(text_parser(MAX_OPAQUE_TOKEN_LENGTH, 1), _TOKEN_SCHEMA)]
KnownPassword = Annotated[str, Rule(parse_password, _PASSWORD_SCHEMA)]
Code = Annotated[str, Rule(text_parser(MAX_CODE_LENGTH, 1), _CODE_SCHEMA)]


class UserCreate(RequestBody):
    email: Email
    password: NewPassword
    full_name: Name100 | None = None


class SessionCreate(RequestBody):
    email: KnownEmail
    password: KnownPassword
    totp_code: Code | None = None


class Login(RequestBody):
    """The OAuth2 password flow; ``email`` may stand in the place of ``username``."""

    username: KnownEmail | None = None
    email: KnownEmail | None = None
    password: KnownPassword
    totp_code: Code | None = None
    grant_type: Literal["password"] | None = None
    scope: Text255 | None = None
    client_id: Text255 | None = None
    client_secret: Text255 | None = None

    @property
    def address(self) -> str:
        """The address, under whichever name it came."""
        return self.username or self.email or ""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.username is None) == (self.email is None):
            message = "Give either a username or an email."
            raise InvalidValue("required", message, ("username",)).as_pydantic()
        return self


class UserChange(RequestBody):
    full_name: Name100 | None


class AccessChange(RequestBody):
    role: Literal["admin", "user", "readonly"] | None = None
    is_active: Boolean | None = None


class RotationCreate(RequestBody):
    reason: Annotated[str, text_rule(255, shortest=1)]
    grace_seconds: Annotated[int, integer_rule(0, MAX_GRACE_SECONDS)] = 0


class PasswordChange(RequestBody):
    current_password: KnownPassword
    new_password: NewPassword


class TokenCreate(RequestBody):
    refresh_token: TokenText


class AddressGiven(RequestBody):
    email: Email


class TokenGiven(RequestBody):
    token: TokenText


class PasswordReset(RequestBody):
    token: TokenText
    new_password: NewPassword


class Told(ResponseBody):
    """What the caller is told, the same whoever they are."""

    message: str


class UserOut(ResponseBody):
    id: UUID
    email: str
    full_name: str | None
    role: Role
    is_active: bool
    email_verified: bool
    created_at: Instant


class SessionOut(ResponseBody):
    id: UUID
    device_info: str | None
    ip_address: str
    location: str | None = None
    created_at: Instant
    last_activity_at: Instant
    expires_at: Instant
    is_current: bool
    is_revoked: bool


class RotationOut(ResponseBody):
    """``user_id`` is null when it is about everybody."""

    version: int
    user_id: UUID | None
    reason: str
    created_at: Instant
    effective_at: Instant


class TokensOut(ResponseBody):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind, not a token
    refresh_token: str
    expires_in: int = ACCESS_SECONDS


class LoginOut(TokensOut):
    user: UserOut


class SessionCreatedOut(LoginOut):
    session: SessionOut


class SignUpOut(UserOut):
    """The new user, signed in; without tokens where the address must be proved first."""

    access_token: str | None = None
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind, not a token
    refresh_token: str | None = None
    expires_in: int | None = None


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
