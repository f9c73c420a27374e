"""What browsers and password managers look for at addresses that are the same everywhere."""

from fastapi import APIRouter, Depends

from guilder.api.auth import anonymous_actor
from guilder.api.policies import READ, rate_limited
from guilder.api.replies import Reply, json_response
from guilder.domains.identity.routes.passkeys import ThePasskeys

router = APIRouter(
    prefix="/.well-known", include_in_schema=False, dependencies=[Depends(anonymous_actor)]
)


@router.get("/webauthn")
@rate_limited(READ)
async def webauthn(passkeys: ThePasskeys) -> Reply:
    """The origins whose pages may use the bank's passkeys (WebAuthn level 3, 5.11)."""
    return json_response(200, {"origins": list(passkeys.origins)})


@router.get("/change-password")
@rate_limited(READ)
async def change_password() -> Reply:
    """Where passwords are changed (W3C, a well-known URL for changing passwords)."""
    return Reply(302, headers={"Location": "/reset-password"})
