"""One's own sessions, name and password."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from guilder.api.auth import TokenCache, requires
from guilder.api.compression import compressed
from guilder.api.deps import TheRunner, TheTokens
from guilder.api.openapi import refusals
from guilder.api.pagination import PageOut, PageQuery, page_body
from guilder.api.policies import LOGIN, rate_limited
from guilder.api.replies import Reply, json_response
from guilder.api.schema import Uuid
from guilder.core.actor import Actor
from guilder.core.errors import Invalid, Overloaded
from guilder.core.permissions import Permission
from guilder.db.run import Runner
from guilder.domains.identity import queries
from guilder.domains.identity.commands.sessions import (
    EndOtherSessions,
    EndSession,
    end_other_sessions,
    end_session,
)
from guilder.domains.identity.commands.users import ChangeName, change_name
from guilder.domains.identity.errors import (
    AccountLocked,
    SessionNotFound,
    WeakPassword,
    WrongPassword,
)
from guilder.domains.identity.routes.sign_in import Device, TheAuthentication
from guilder.domains.identity.schemas.logins import (
    PasswordChange,
    SessionOut,
    UserChange,
    UserOut,
    session_body,
    user_body,
)

ProfileReader = Annotated[Actor, requires(Permission.PROFILE_READ)]
ProfileWriter = Annotated[Actor, requires(Permission.PROFILE_WRITE)]
SecurityWriter = Annotated[Actor, requires(Permission.SECURITY_WRITE)]

router = APIRouter(tags=["identity"])


@router.get("/sessions", response_model=PageOut[SessionOut])
@compressed
async def list_sessions(actor: ProfileReader, runner: TheRunner, page: PageQuery) -> Reply:
    """One's own sessions, ended ones too, newest first."""
    found = await runner.view(queries.list_sessions, actor, page)
    return json_response(200, page_body(found, lambda one: session_body(one, actor.session_id)))


@router.get(
    "/sessions/{session_id}", response_model=SessionOut, responses=refusals(SessionNotFound)
)
async def get_session(session_id: Uuid, actor: ProfileReader, runner: TheRunner) -> Reply:
    """One of one's own sessions."""
    found = await runner.view(queries.get_session, actor, session_id)
    return json_response(200, session_body(found, actor.session_id))


@router.delete("/sessions/current", status_code=204)
async def delete_current_session(
    actor: SecurityWriter, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """Log out: the session's tokens stop working."""
    assert actor.session_id is not None  # no other kind of token signs in
    return await _end(runner, tokens, actor, actor.session_id)


@router.delete("/sessions/{session_id}", status_code=204, responses=refusals(SessionNotFound))
async def delete_session(
    session_id: Uuid, actor: SecurityWriter, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """End one of one's own sessions: its tokens stop working within a second, everywhere."""
    return await _end(runner, tokens, actor, session_id)


@router.delete("/sessions", status_code=204)
async def delete_other_sessions(
    actor: SecurityWriter, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """End all of one's own sessions but this one."""
    await runner.run(end_other_sessions, EndOtherSessions(), actor)
    tokens.forget()
    return Reply(204)


async def _end(runner: Runner, tokens: TokenCache, actor: Actor, session_id: UUID) -> Reply:
    await runner.run(end_session, EndSession(session_id), actor)
    tokens.forget(session_id)
    return Reply(204)


@router.get("/users/me", response_model=UserOut)
async def get_me(actor: ProfileReader, runner: TheRunner) -> Reply:
    """Who has signed in."""
    user = await runner.view(queries.get_me, actor)
    return json_response(200, user_body(user))


@router.patch("/users/me", response_model=UserOut, responses=refusals(Invalid))
async def update_me(body: UserChange, actor: ProfileWriter, runner: TheRunner) -> Reply:
    """Change how one is called."""
    user = await runner.run(change_name, ChangeName(body.full_name), actor)
    return json_response(200, user_body(user))


@router.put(
    "/users/me/password",
    status_code=204,
    responses=refusals(WrongPassword, AccountLocked, WeakPassword, Invalid, Overloaded),
)
@rate_limited(LOGIN)
async def set_password(
    body: PasswordChange,
    actor: SecurityWriter,
    authentication: TheAuthentication,
    device: Device,
    tokens: TheTokens,
) -> Reply:
    """Change one's password. All other sessions end."""
    await authentication.change_password(body.current_password, body.new_password, actor, device)
    tokens.forget()
    return Reply(204)
