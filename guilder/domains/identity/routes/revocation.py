"""Revoking tokens (RFC 7009), and what OAuth2 clients need to know of the bank (RFC 8414)."""

from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from guilder.api.auth import AnonymousActor, TokenCache
from guilder.api.components import LOGIN_PATH
from guilder.api.deps import BaseUrl, TheExchange, TheRunner, TheTokens
from guilder.api.policies import READ, REFRESH, rate_limited
from guilder.api.replies import API, Reply, json_response
from guilder.core.actor import Actor
from guilder.core.errors import Invalid, Unauthenticated
from guilder.db.run import Runner
from guilder.domains.identity.commands.sessions import EndSession, end_session
from guilder.domains.identity.routes.oauth import answer_oauth, json_or_oauth_form, oauth_refusals
from guilder.domains.identity.routes.sign_in import TheAuthentication
from guilder.domains.identity.schemas.logins import GRANT_TYPES, Revocation, ServerMetadata

REVOCATION_PATH: Final = "/auth/revoke"
METADATA_PATH: Final = "/.well-known/oauth-authorization-server"
_DONE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The token is worth nothing now, if it ever was."}
}

router = APIRouter(tags=["identity"])
metadata_router = APIRouter(tags=["identity"])


@router.post(
    REVOCATION_PATH,
    response_class=Response,
    responses=_DONE | oauth_refusals(Invalid, takes_grants=False),
    openapi_extra=json_or_oauth_form(Revocation),
)
@rate_limited(REFRESH)
async def create_revocation(
    exchange: TheExchange,
    actor: AnonymousActor,
    authentication: TheAuthentication,
    runner: TheRunner,
    tokens: TheTokens,
) -> Reply:
    """End the session of a refresh token or an access token, by a form or JSON: RFC 7009.

    A token that is worth nothing is answered in the same way.
    """

    async def answer(given: Revocation, _named: bool) -> Reply:
        session_id = await authentication.revoke(given.token, actor)
        if session_id is None:
            session_id = await _end_session_of(given.token, actor, runner, tokens)
        if session_id is not None:
            tokens.forget(session_id)
        return Reply(200)

    return await answer_oauth(exchange, Revocation, answer)


async def _end_session_of(
    access_token: str, actor: Actor, runner: Runner, tokens: TokenCache
) -> UUID | None:
    """End the session of an access token; None when the token is not good."""
    try:
        who = await tokens.verify(access_token)
    except Unauthenticated:
        return None
    assert who.session_id is not None  # no other kind of token is verified
    bearer = replace(actor, user_id=who.user_id, role=who.role, session_id=who.session_id)
    await runner.run(end_session, EndSession(who.session_id), bearer)
    return who.session_id


@metadata_router.get(METADATA_PATH, response_model=ServerMetadata)
@rate_limited(READ)
async def get_server_metadata(_actor: AnonymousActor, base: BaseUrl) -> Reply:
    """What OAuth2 clients need to know of the bank: RFC 8414."""
    return json_response(
        200,
        {
            "issuer": base,
            "token_endpoint": base + LOGIN_PATH,
            "revocation_endpoint": base + API + REVOCATION_PATH,
            "service_documentation": base + "/docs",
            "grant_types_supported": GRANT_TYPES,
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
        },
    )
