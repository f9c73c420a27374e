"""Signing up and in. Passwords go to the authentication service; tokens are kept nowhere."""

from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends

from guilder.api.auth import AnonymousActor
from guilder.api.deps import Part, TheExchange, TheRunner
from guilder.api.errors import DuplicateParameter, InvalidText, UnsupportedMediaType
from guilder.api.exchange import Exchange
from guilder.api.idempotency import TheOnce
from guilder.api.json_gate import parse
from guilder.api.openapi import REF_TEMPLATE, refusals
from guilder.api.policies import LOGIN, REFRESH, SIGN_UP, rate_limited
from guilder.api.replies import Reply, json_response
from guilder.api.schema import RequestBody
from guilder.api.validation import read_body
from guilder.core.errors import BadRequest, Invalid, Overloaded
from guilder.domains.identity.commands import users
from guilder.domains.identity.errors import (
    AccountLocked,
    EmailTaken,
    EmailUnverified,
    InvalidCredentials,
    InvalidSecondFactor,
    RefreshInvalid,
    RefreshReused,
    SecondFactorRequired,
    WeakPassword,
)
from guilder.domains.identity.schemas.logins import (
    Login,
    LoginOut,
    SessionCreate,
    SessionCreatedOut,
    SignUpOut,
    TokenCreate,
    UserCreate,
    UserOut,
    created_session_body,
    login_body,
    sign_up_body,
    user_body,
)
from guilder.domains.identity.services.authentication import AuthenticationService

MAX_DEVICE_LENGTH: Final = 200
JSON_TYPE: Final = "application/json"
FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 20

router = APIRouter(tags=["identity"])
auth_router = APIRouter(prefix="/auth", tags=["identity"])


async def device_of(exchange: TheExchange) -> str | None:
    """What the client says it is, short and printable; None when it says nothing."""
    agent = exchange.header(b"user-agent") or ""
    return "".join(filter(str.isprintable, agent))[:MAX_DEVICE_LENGTH].strip() or None


Device = Annotated[str | None, Depends(device_of)]
TheAuthentication = Annotated[AuthenticationService, Depends(Part(AuthenticationService))]


def json_or_form(model: type[RequestBody]) -> dict[str, Any]:
    """The OpenAPI of a body that may be JSON or a form."""
    schema = model.model_json_schema(ref_template=REF_TEMPLATE)
    content = {kind: {"schema": schema} for kind in (JSON_TYPE, FORM_TYPE)}
    return {"requestBody": {"required": True, "content": content}}


async def read_json_or_form[M: RequestBody](exchange: Exchange, model: type[M]) -> M:
    """The body as JSON or a form. Raises ``UnsupportedMediaType`` for any other."""
    body = await exchange.read_body()
    kind = (exchange.header(b"content-type") or "").partition(";")[0].strip().lower()
    if kind not in {JSON_TYPE, FORM_TYPE}:
        raise UnsupportedMediaType(f"The body must be {JSON_TYPE} or {FORM_TYPE}.")
    return read_body(model, _form(body) if kind == FORM_TYPE else parse(body))


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS,
            errors="strict",
        )  # fmt: skip
    except UnicodeError:
        raise InvalidText() from None
    except ValueError:
        raise BadRequest("The form has too many fields.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise DuplicateParameter()
    if any("\0" in value for value in fields.values()):
        raise InvalidText()
    return fields


@router.post(
    "/users",
    status_code=201,
    response_model=UserOut,
    responses=refusals(EmailTaken, WeakPassword, Invalid, Overloaded),
)
@rate_limited(SIGN_UP)
async def create_user(
    body: UserCreate,
    actor: AnonymousActor,
    authentication: TheAuthentication,
    once: TheOnce,
) -> Reply:
    """Sign up without signing in."""
    command = users.CreateUser(
        body.email, await authentication.hash_password(body.password, body.email), body.full_name
    )
    secrets = {"password_hash": body.password}
    return await once.run(users.create_user, command, actor, user_body, secrets=secrets)


@router.post(
    "/sessions",
    status_code=201,
    response_model=SessionCreatedOut,
    responses=refusals(
        InvalidCredentials,
        SecondFactorRequired,
        InvalidSecondFactor,
        AccountLocked,
        EmailUnverified,
        Overloaded,
    ),
)
@rate_limited(LOGIN)
async def create_session(
    body: SessionCreate, actor: AnonymousActor, authentication: TheAuthentication, device: Device
) -> Reply:
    """Sign in. Whether the address has a user cannot be told from the answer.

    Who has an authenticator app gives its code as well; only who has the right password learns so.
    """
    signed_in = await authentication.log_in(
        body.email, body.password, actor, device, body.totp_code
    )
    return json_response(201, created_session_body(signed_in))


@router.post(
    "/tokens",
    status_code=201,
    response_model=SessionCreatedOut,
    responses=refusals(RefreshInvalid, RefreshReused),
)
@rate_limited(REFRESH)
async def create_tokens(
    body: TokenCreate, actor: AnonymousActor, authentication: TheAuthentication
) -> Reply:
    """A new pair for a refresh token, which is dead from then on.

    Using it again ends the session, for two parties have it; only a client that asks twice within
    ten seconds, and has not used the new pair, is given the same pair again.
    """
    return json_response(
        201, created_session_body(await authentication.refresh(body.refresh_token, actor))
    )


@auth_router.post(
    "/signup",
    status_code=201,
    response_model=SignUpOut,
    responses=refusals(EmailTaken, WeakPassword, Invalid, UnsupportedMediaType, Overloaded),
    openapi_extra=json_or_form(UserCreate),
)
@rate_limited(SIGN_UP)
async def sign_up(
    runner: TheRunner,
    exchange: TheExchange,
    actor: AnonymousActor,
    authentication: TheAuthentication,
    device: Device,
) -> Reply:
    """Sign up and in, by JSON or a form; without tokens where addresses are proved first."""
    new = await read_json_or_form(exchange, UserCreate)
    if authentication.requires_verification:
        command = users.CreateUser(
            new.email, await authentication.hash_password(new.password, new.email), new.full_name
        )
        user = await runner.run(users.create_user, command, actor)
        return json_response(201, sign_up_body(user))
    signed_in = await authentication.sign_up(new.email, new.password, new.full_name, actor, device)
    return json_response(201, sign_up_body(signed_in.user, signed_in))


@auth_router.post(
    "/login",
    response_model=LoginOut,
    responses=refusals(
        InvalidCredentials,
        SecondFactorRequired,
        InvalidSecondFactor,
        AccountLocked,
        EmailUnverified,
        Invalid,
        UnsupportedMediaType,
        Overloaded,
    ),
    openapi_extra=json_or_form(Login),
)
@rate_limited(LOGIN)
async def log_in(
    exchange: TheExchange, actor: AnonymousActor, authentication: TheAuthentication, device: Device
) -> Reply:
    """Sign in by the OAuth2 password flow, by a form or JSON."""
    given = await read_json_or_form(exchange, Login)
    signed_in = await authentication.log_in(
        given.address, given.password, actor, device, given.totp_code
    )
    return json_response(200, login_body(signed_in))
