"""One's own address and login: changed, undone, closed."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from guilder.api.auth import AnonymousActor
from guilder.api.deps import Part, TheRunner, TheTokens
from guilder.api.openapi import refusals
from guilder.api.policies import RECOVERY, rate_limited
from guilder.api.replies import Reply, created
from guilder.core.errors import Invalid, Overloaded, RateLimited, StepUpRequired
from guilder.core.tokens import opaque_hash
from guilder.domains.identity.commands.emails import (
    ConfirmEmailChange,
    RequestEmailChange,
    change_to_confirm,
    confirm_email_change,
    request_email_change,
)
from guilder.domains.identity.errors import (
    AccountsHoldMoney,
    EmailTaken,
    LastAdmin,
    TokenExpired,
    TokenInvalid,
    WeakPassword,
)
from guilder.domains.identity.routes.factors import FreshSecurityWriter
from guilder.domains.identity.routes.sign_in import Device, TheAuthentication
from guilder.domains.identity.schemas.logins import (
    AddressGiven,
    PasswordReset,
    TokenGiven,
    Told,
    told_body,
)
from guilder.domains.identity.services.closing import ClosingService

CHANGE_ASKED: Final = told_body(
    "Open the link that we send to the new address, unless somebody else has it here."
)
CHANGE_UNDONE: Final = told_body(
    "The login has its old address again and the new password, and all sessions have ended."
)
TheClosing = Annotated[ClosingService, Depends(Part(ClosingService))]

router = APIRouter(tags=["identity"])


@router.post(
    "/users/me/email-changes",
    status_code=201,
    response_model=Told,
    responses=refusals(StepUpRequired, RateLimited, Invalid),
)
@rate_limited(RECOVERY)
async def create_email_change_request(
    body: AddressGiven, actor: FreshSecurityWriter, runner: TheRunner
) -> Reply:
    """Ask for another e-mail address, at most five times a day.

    A letter to it brings the token that makes the change, good for 24 hours and only while this
    session is open. The answer does not tell whether somebody else has the address.
    """
    await runner.run(request_email_change, RequestEmailChange(body.email), actor)
    return created("/users/me", CHANGE_ASKED)


@router.post(
    "/email-changes",
    status_code=201,
    response_model=Told,
    responses=refusals(TokenInvalid, TokenExpired, EmailTaken),
)
@rate_limited(RECOVERY)
async def create_email_change(
    body: TokenGiven, actor: AnonymousActor, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """Change the e-mail address by the token that was sent to the new one.

    400 `token_invalid` once the session that asked for it has ended. The old address is told, and
    can undo it for seven days.
    """
    command = ConfirmEmailChange(opaque_hash(body.token))
    await runner.view(change_to_confirm, command.token_hash)
    await runner.run(confirm_email_change, command, actor)
    tokens.forget()
    return created("/users/me", told_body("The e-mail address is changed."))


@router.post(
    "/email-change-reversals",
    status_code=201,
    response_model=Told,
    responses=refusals(TokenInvalid, TokenExpired, EmailTaken, WeakPassword, Invalid, Overloaded),
)
@rate_limited(RECOVERY)
async def create_email_change_reversal(
    body: PasswordReset,
    actor: AnonymousActor,
    authentication: TheAuthentication,
    device: Device,
    tokens: TheTokens,
) -> Reply:
    """Undo a change of the e-mail address by the token that was sent to the old one.

    It is good for seven days, and takes a new password, since whoever changed the address knows
    the present one. All sessions end, and passkeys are removed. An authenticator app is asked for
    during three more days, and stays if its codes are used meanwhile.
    """
    await authentication.undo_email_change(body.token, body.new_password, actor, device)
    tokens.forget()
    return created("/users/me", CHANGE_UNDONE)


@router.delete(
    "/users/me",
    status_code=204,
    responses=refusals(StepUpRequired, AccountsHoldMoney, LastAdmin),
)
async def delete_login(actor: FreshSecurityWriter, closing: TheClosing, tokens: TheTokens) -> Reply:
    """Close one's login and accounts for good, once no account holds or owes money.

    All sessions end, and the address can be used to sign up again.
    """
    await closing.close(actor)
    tokens.forget()
    return Reply(204)
