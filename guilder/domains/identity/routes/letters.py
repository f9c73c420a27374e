"""Proving an address and setting a new password, by the tokens of letters.

Strangers come here: a token that is dead, and an address that is nobody's, leave no rows.
"""

from typing import Final

from fastapi import APIRouter

from guilder.api.auth import AnonymousActor
from guilder.api.deps import TheRunner, TheTokens
from guilder.api.openapi import refusals
from guilder.api.policies import RECOVERY, rate_limited
from guilder.api.replies import Reply, created
from guilder.core.errors import Invalid, Overloaded
from guilder.core.tokens import opaque_hash
from guilder.db.run import Runner
from guilder.domains.identity.commands.letters import (
    GiveUpFactors,
    RequestLetter,
    VerifyEmail,
    give_up_factors,
    request_letter,
    user_of_token,
    user_to_verify,
    verify_email,
)
from guilder.domains.identity.errors import TokenExpired, TokenInvalid, WeakPassword
from guilder.domains.identity.queries import user_by_email
from guilder.domains.identity.routes.sign_in import Device, TheAuthentication
from guilder.domains.identity.rules.letters import Purpose
from guilder.domains.identity.schemas.logins import (
    AddressGiven,
    PasswordReset,
    TokenGiven,
    Told,
    told_body,
)

ASKED: Final = told_body("If that address is known here, a letter is on its way to it.")

router = APIRouter(tags=["identity"])


@router.post("/email-verification-tokens", status_code=201, response_model=Told)
@rate_limited(RECOVERY)
async def create_email_verification_token(
    body: AddressGiven, actor: AnonymousActor, runner: TheRunner
) -> Reply:
    """Send the letter that proves an address once more. The answer never tells who is known.

    After a second sign-up with the address that letter sets a new password.
    """
    return await _asked(Purpose.VERIFICATION, body, actor, runner)


@router.post(
    "/email-verifications",
    status_code=201,
    response_model=Told,
    responses=refusals(TokenInvalid, TokenExpired),
)
@rate_limited(RECOVERY)
async def create_email_verification(
    body: TokenGiven, actor: AnonymousActor, runner: TheRunner
) -> Reply:
    """Prove an address by the token that was sent there, good once and for 24 hours."""
    command = VerifyEmail(opaque_hash(body.token))
    await runner.view(user_to_verify, command.token_hash)
    await runner.run(verify_email, command, actor)
    return created("/users/me", told_body("The e-mail address is confirmed."))


@router.post("/password-reset-tokens", status_code=201, response_model=Told)
@rate_limited(RECOVERY)
async def create_password_reset_token(
    body: AddressGiven, actor: AnonymousActor, runner: TheRunner
) -> Reply:
    """Send a letter with which a new password can be set. The answer never tells who is known."""
    return await _asked(Purpose.RESET, body, actor, runner)


@router.post(
    "/password-resets",
    status_code=201,
    response_model=Told,
    responses=refusals(TokenInvalid, TokenExpired, WeakPassword, Invalid, Overloaded),
)
@rate_limited(RECOVERY)
async def create_password_reset(
    body: PasswordReset,
    actor: AnonymousActor,
    authentication: TheAuthentication,
    device: Device,
    tokens: TheTokens,
) -> Reply:
    """Set a new password by the token of a letter, good once and for 15 minutes.

    All sessions end.
    """
    await authentication.reset_password(body.token, body.new_password, actor, device)
    tokens.forget()
    done = told_body("The password is changed and all sessions have ended.")
    return created("/users/me", done)


@router.post(
    "/factor-removals",
    status_code=201,
    response_model=Told,
    responses=refusals(TokenInvalid, TokenExpired),
)
@rate_limited(RECOVERY)
async def create_factor_removal(
    body: TokenGiven, actor: AnonymousActor, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """Remove one's passkeys by the token of the letter about a reset, good once and for 24 hours.

    All sessions end. An authenticator app is asked for during three more days, and stays if its
    codes are used meanwhile.
    """
    command = GiveUpFactors(opaque_hash(body.token))
    await runner.view(user_of_token, command.token_hash, Purpose.FACTORS)
    await runner.run(give_up_factors, command, actor)
    tokens.forget()
    done = told_body("The passkeys are removed and all sessions have ended.")
    return created("/users/me/factors", done)


async def _asked(
    purpose: Purpose, body: AddressGiven, actor: AnonymousActor, runner: Runner
) -> Reply:
    command = RequestLetter(purpose, body.email)
    if await runner.view(user_by_email, body.email) is None:
        await runner.pretend(request_letter, command, actor)
    else:
        await runner.run(request_letter, command, actor)
    return created("/users/me", ASKED)
