"""Signing up and in. Passwords go to the authentication service; tokens are kept nowhere."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends

from guilder.api.auth import AnonymousActor
from guilder.api.deps import Part, TheExchange, TheRunner
from guilder.api.idempotency import TheOnce
from guilder.api.openapi import refusals
from guilder.api.policies import LOGIN, REFRESH, SIGN_UP, rate_limited
from guilder.api.replies import Reply, created, json_response
from guilder.core.errors import Invalid, Overloaded
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
    UnsupportedGrantType,
    WeakPassword,
)
from guilder.domains.identity.routes.oauth import (
    answer_oauth,
    json_or_form,
    json_or_oauth_form,
    oauth_refusals,
    read_json_or_form,
)
from guilder.domains.identity.schemas.logins import (
    GRANT_TYPES,
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
SESSION_PLACE: Final = "/sessions/{session[id]}"
_USER_PLACE: Final = "/users/me"
"""How its owner reads it; by its id only an admin does."""

router = APIRouter(tags=["identity"])
auth_router = APIRouter(prefix="/auth", tags=["identity"])


async def device_of(exchange: TheExchange) -> str | None:
    """What the client says it is, short and printable; None when it says nothing."""
    agent = exchange.header(b"user-agent") or ""
    return "".join(filter(str.isprintable, agent))[:MAX_DEVICE_LENGTH].strip() or None


Device = Annotated[str | None, Depends(device_of)]
TheAuthentication = Annotated[AuthenticationService, Depends(Part(AuthenticationService))]
_FOR_OAUTH: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": SessionCreatedOut, "description": "A new pair, for OAuth2."}
}


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
    """Sign up without signing in.

    Where addresses are proved first, one that has a login already gets the same answer as a new
    one, and its owner a letter.
    """
    secrets = {"password_hash": body.password}
    if authentication.requires_verification:
        new = await authentication.registration(body.email, body.password, body.full_name)
        secrets["repeat_mac"] = body.password
        return await once.run(
            users.register_user, new, actor, user_body, place=_USER_PLACE, secrets=secrets
        )
    encoded = await authentication.hash_password(body.password, body.email)
    command = users.CreateUser(body.email, encoded, body.full_name)
    return await once.run(
        users.create_user, command, actor, user_body, place=_USER_PLACE, secrets=secrets
    )


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
    return created(SESSION_PLACE, created_session_body(signed_in))


@router.post(
    "/tokens",
    status_code=201,
    response_model=SessionCreatedOut,
    responses=_FOR_OAUTH
    | oauth_refusals(RefreshInvalid, RefreshReused, Invalid, UnsupportedGrantType),
    openapi_extra=json_or_oauth_form(TokenCreate),
)
@rate_limited(REFRESH)
async def create_tokens(
    exchange: TheExchange, actor: AnonymousActor, authentication: TheAuthentication
) -> Reply:
    """A new pair for a refresh token, which is dead from then on; by JSON or a form.

    Using it again ends the session, for two parties have it; only a client that asks twice within
    a minute, and has not used the new pair, is given the same pair again.

    With `grant_type=refresh_token` it is answered as OAuth2 says: 200, and refused with 400.
    """

    async def answer(given: TokenCreate, named: bool) -> Reply:
        signed_in = await authentication.refresh(given.refresh_token, actor)
        body = created_session_body(signed_in)
        return json_response(200, body) if named else created(SESSION_PLACE, body)

    return await answer_oauth(exchange, TokenCreate, answer, ("refresh_token",))


@auth_router.post(
    "/signup",
    status_code=201,
    response_model=SignUpOut,
    responses=refusals(EmailTaken, WeakPassword, Invalid, Overloaded),
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
        command = await authentication.registration(new.email, new.password, new.full_name)
        user = await runner.run(users.register_user, command, actor)
        return created(_USER_PLACE, sign_up_body(user))
    signed_in = await authentication.sign_up(new.email, new.password, new.full_name, actor, device)
    return created(_USER_PLACE, sign_up_body(signed_in.user, signed_in))


@auth_router.post(
    "/login",
    response_model=LoginOut,
    responses=oauth_refusals(
        InvalidCredentials,
        SecondFactorRequired,
        InvalidSecondFactor,
        AccountLocked,
        EmailUnverified,
        RefreshInvalid,
        RefreshReused,
        Invalid,
        UnsupportedGrantType,
    )
    | refusals(Overloaded),
    openapi_extra=json_or_oauth_form(Login),
)
@rate_limited(LOGIN)
async def log_in(
    exchange: TheExchange, actor: AnonymousActor, authentication: TheAuthentication, device: Device
) -> Reply:
    """Sign in by the OAuth2 password flow, or refresh, by a form or JSON.

    With a `grant_type` it is refused as OAuth2 says, with 400.
    """

    async def answer(given: Login, _named: bool) -> Reply:
        if given.refresh_token is not None:
            signed_in = await authentication.refresh(given.refresh_token, actor)
        else:
            signed_in = await authentication.log_in(
                given.address, given.password or "", actor, device, given.totp_code
            )
        return json_response(200, login_body(signed_in))

    return await answer_oauth(exchange, Login, answer, GRANT_TYPES)
