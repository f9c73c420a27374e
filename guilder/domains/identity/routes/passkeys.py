"""Passkeys: made, seen and removed by their owner, and a way to come in."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from guilder.api.auth import AnonymousActor
from guilder.api.compression import compressed
from guilder.api.deps import Part, TheRunner, TheTokens
from guilder.api.openapi import refusals
from guilder.api.pagination import PageOut, PageQuery, page_body
from guilder.api.policies import LOGIN, rate_limited
from guilder.api.replies import Reply, created, json_response
from guilder.api.schema import Uuid
from guilder.core.errors import Invalid, SecondFactorDemanded, StepUpRequired
from guilder.domains.identity import queries
from guilder.domains.identity.commands.passkeys import RemovePasskey, remove_passkey
from guilder.domains.identity.errors import (
    EmailUnverified,
    InvalidPasskey,
    PasskeyNotFound,
    PasskeyTaken,
    TooManyPasskeys,
    WrongFactor,
)
from guilder.domains.identity.routes.factors import FreshSecurityWriter
from guilder.domains.identity.routes.profile import ProfileReader, SecurityWriter
from guilder.domains.identity.routes.sign_in import SESSION_PLACE, Device, TheAuthentication
from guilder.domains.identity.schemas.factors import (
    PasskeyCreate,
    PasskeyLogin,
    PasskeyOptionsOut,
    PasskeyOut,
    passkey_body,
    passkey_options_body,
)
from guilder.domains.identity.schemas.logins import SessionCreatedOut, created_session_body
from guilder.domains.identity.services.passkeys import PasskeyService

ThePasskeys = Annotated[PasskeyService, Depends(Part(PasskeyService))]

PASSKEY_BYTES: Final = 64_000
"""An authenticator's maker may sign for it with a chain of certificates."""

router = APIRouter(prefix="/passkeys", tags=["identity"])


@router.get("", response_model=PageOut[PasskeyOut])
@compressed
async def list_passkeys(actor: ProfileReader, runner: TheRunner, page: PageQuery) -> Reply:
    """One's own passkeys, newest first."""
    found = await runner.view(queries.list_passkeys, actor, page)
    return json_response(200, page_body(found, passkey_body))


@router.post(
    "/registrations",
    status_code=201,
    response_model=PasskeyOptionsOut,
    responses=refusals(StepUpRequired),
)
async def create_passkey_registration(actor: FreshSecurityWriter, passkeys: ThePasskeys) -> Reply:
    """What a browser needs to make a passkey: good for five minutes, once, in this session."""
    options = await passkeys.creation_options(actor)
    return created("/passkeys", passkey_options_body(options))


@router.post(
    "",
    status_code=201,
    response_model=PasskeyOut,
    responses=refusals(WrongFactor, PasskeyTaken, TooManyPasskeys, SecondFactorDemanded, Invalid),
    max_body_size=PASSKEY_BYTES,
)
async def create_passkey(
    body: PasskeyCreate, actor: SecurityWriter, passkeys: ThePasskeys
) -> Reply:
    """Keep the passkey that the browser has made for such a registration."""
    credential = body.credential.as_browsers_write_it()
    passkey = await passkeys.add(body.name, credential, actor)
    return created("/passkeys/{id}", passkey_body(passkey))


@router.get("/{passkey_id}", response_model=PasskeyOut, responses=refusals(PasskeyNotFound))
async def get_passkey(passkey_id: Uuid, actor: ProfileReader, runner: TheRunner) -> Reply:
    """One of one's own passkeys."""
    found = await runner.view(queries.get_passkey, actor, passkey_id)
    return json_response(200, passkey_body(found))


@router.delete(
    "/{passkey_id}", status_code=204, responses=refusals(StepUpRequired, PasskeyNotFound)
)
async def delete_passkey(
    passkey_id: Uuid, actor: FreshSecurityWriter, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """Remove one of one's own passkeys. All other sessions end."""
    await runner.run(remove_passkey, RemovePasskey(passkey_id), actor)
    tokens.forget()
    return Reply(204)


@router.post("/challenges", status_code=201, response_model=PasskeyOptionsOut)
@rate_limited(LOGIN)
async def create_passkey_challenge(_actor: AnonymousActor, passkeys: ThePasskeys) -> Reply:
    """What a browser needs to sign in or to step up by a passkey: for five minutes, and once."""
    return created("/passkeys", passkey_options_body(passkeys.request_options()))


@router.post(
    "/sessions",
    status_code=201,
    response_model=SessionCreatedOut,
    responses=refusals(InvalidPasskey, EmailUnverified, Invalid),
)
@rate_limited(LOGIN)
async def create_passkey_session(
    body: PasskeyLogin, actor: AnonymousActor, authentication: TheAuthentication, device: Device
) -> Reply:
    """Sign in by a passkey that has signed a challenge. No code is asked for beside it."""
    credential = body.credential.as_browsers_write_it()
    signed_in = await authentication.log_in_with_passkey(credential, actor, device)
    return created(SESSION_PLACE, created_session_body(signed_in))
