"""One's own second factors: an authenticator app with its recovery codes, and stepping up."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from guilder.api.auth import requires
from guilder.api.deps import Part, TheRunner, TheTokens
from guilder.api.openapi import refusals
from guilder.api.policies import LOGIN, rate_limited
from guilder.api.replies import Reply, created, json_response
from guilder.core.actor import Actor
from guilder.core.errors import Invalid, Overloaded, SecondFactorDemanded, StepUpRequired
from guilder.core.permissions import Permission
from guilder.domains.identity import queries
from guilder.domains.identity.commands.factors import RemoveTotp, remove_totp
from guilder.domains.identity.errors import (
    AccountLocked,
    FactorRequired,
    TotpActive,
    TotpNotFound,
    WrongFactor,
    WrongPassword,
)
from guilder.domains.identity.routes.profile import ProfileReader, SecurityWriter
from guilder.domains.identity.routes.sign_in import TheAuthentication
from guilder.domains.identity.schemas.factors import (
    FactorsOut,
    RecoveryCodesOut,
    StepUpCreate,
    StepUpOut,
    TotpConfirmation,
    TotpOut,
    factors_body,
    recovery_codes_body,
    step_up_body,
    totp_body,
)
from guilder.domains.identity.services.factors import SecondFactorService

TheFactors = Annotated[SecondFactorService, Depends(Part(SecondFactorService))]
FreshSecurityWriter = Annotated[Actor, requires(Permission.SECURITY_WRITE, fresh=True)]

_PLACE: Final = "/users/me/factors"

router = APIRouter(tags=["identity"])


@router.get("/users/me/factors", response_model=FactorsOut)
async def get_factors(actor: ProfileReader, runner: TheRunner) -> Reply:
    """What one has beside the password."""
    found = await runner.view(queries.get_factors, actor)
    return json_response(200, factors_body(found))


@router.post(
    "/users/me/totp",
    status_code=201,
    response_model=TotpOut,
    responses=refusals(StepUpRequired, TotpActive),
)
async def create_totp(actor: FreshSecurityWriter, factors: TheFactors) -> Reply:
    """Begin to set up an authenticator app. Its secret is shown here and never again."""
    return created(_PLACE, totp_body(await factors.enrol(actor)))


@router.post(
    "/users/me/totp/confirmations",
    status_code=201,
    response_model=RecoveryCodesOut,
    responses=refusals(WrongFactor, TotpActive, TotpNotFound, SecondFactorDemanded, Invalid),
)
@rate_limited(LOGIN)
async def create_totp_confirmation(
    body: TotpConfirmation, actor: SecurityWriter, factors: TheFactors, tokens: TheTokens
) -> Reply:
    """Show that the app works, within a quarter of an hour; from then on it is asked for.

    The recovery codes are shown here and never again. All other sessions end.
    """
    codes = await factors.confirm(body.code, actor)
    tokens.forget()
    return created(_PLACE, recovery_codes_body(codes))


@router.delete("/users/me/totp", status_code=204, responses=refusals(StepUpRequired, TotpNotFound))
async def delete_totp(actor: FreshSecurityWriter, runner: TheRunner, tokens: TheTokens) -> Reply:
    """Give up the authenticator app and its recovery codes. All other sessions end."""
    await runner.run(remove_totp, RemoveTotp(), actor)
    tokens.forget()
    return Reply(204)


@router.post(
    "/users/me/recovery-codes",
    status_code=201,
    response_model=RecoveryCodesOut,
    responses=refusals(StepUpRequired, TotpNotFound),
)
async def create_recovery_codes(actor: FreshSecurityWriter, factors: TheFactors) -> Reply:
    """New recovery codes, shown here and never again; the old ones are dead."""
    codes = await factors.renew_codes(actor)
    return created(_PLACE, recovery_codes_body(codes))


@router.post(
    "/sessions/current/step-ups",
    status_code=201,
    response_model=StepUpOut,
    responses=refusals(
        WrongPassword, WrongFactor, FactorRequired, AccountLocked, Invalid, Overloaded
    ),
)
@rate_limited(LOGIN)
async def create_step_up(
    body: StepUpCreate, actor: SecurityWriter, authentication: TheAuthentication, tokens: TheTokens
) -> Reply:
    """Prove again that it is you, for what an access token alone is not enough for.

    By a code or a passkey, or by the password when there is no authenticator app. It counts for
    five minutes, in this session; so does signing in.
    """
    if body.password is not None:
        expires_at = await authentication.step_up_with_password(body.password, actor)
    elif body.totp_code is not None:
        expires_at = await authentication.step_up_with_code(body.totp_code, actor)
    else:
        assert body.credential is not None
        credential = body.credential.as_browsers_write_it()
        expires_at = await authentication.step_up_with_passkey(credential, actor)
    tokens.forget(actor.session_id)
    return created(f"/sessions/{actor.session_id}", step_up_body(expires_at))
