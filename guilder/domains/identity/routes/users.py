"""The users, for an admin."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query

from guilder.api.auth import requires
from guilder.api.compression import compressed
from guilder.api.deps import TheRunner, TheTokens
from guilder.api.idempotency import TheOnce
from guilder.api.openapi import refusals
from guilder.api.pagination import PageOut, PageQuery, page_body
from guilder.api.replies import Reply, json_response
from guilder.api.schema import QueryBoolean, QueryText, Uuid
from guilder.core.actor import Actor
from guilder.core.errors import Forbidden, Invalid, StepUpRequired
from guilder.core.permissions import Permission, Role
from guilder.domains.identity import queries
from guilder.domains.identity.commands.factors import RemoveFactors, remove_factors
from guilder.domains.identity.commands.rotations import (
    RotateAll,
    RotateUser,
    rotate_all,
    rotate_user,
)
from guilder.domains.identity.commands.users import ChangeAccess, change_access
from guilder.domains.identity.errors import LastAdmin, LoginIsClosed, UserNotFound
from guilder.domains.identity.rules.users import UserFilter
from guilder.domains.identity.schemas.logins import (
    AccessChange,
    RotationCreate,
    RotationOut,
    UserOut,
    rotation_body,
    user_body,
)

UsersReader = Annotated[Actor, requires(Permission.USERS_READ)]
FreshUsersWriter = Annotated[Actor, requires(Permission.USERS_WRITE, fresh=True)]
FreshRotator = Annotated[Actor, requires(Permission.ROTATIONS_WRITE, fresh=True)]

_ROTATIONS: Final = f"/admin/audit-events?action={RotateAll.action}"

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/users", response_model=PageOut[UserOut], responses=refusals(Forbidden))
@compressed
async def list_users(
    actor: UsersReader,
    runner: TheRunner,
    page: PageQuery,
    q: Annotated[
        QueryText | None,
        Query(
            description="Words that all stand in the e-mail address or the name, in any "
            "case. A word without accents finds those with accents, too."
        ),
    ] = None,
    role: Annotated[
        Literal["admin", "user", "readonly"] | None, Query(description="Only logins of this role.")
    ] = None,
    is_active: Annotated[
        QueryBoolean | None, Query(description="Only who may sign in, or only who may not.")
    ] = None,
) -> Reply:
    """All users, newest first."""
    wanted = UserFilter(q, None if role is None else Role(role), is_active)
    found = await runner.view(queries.list_users, actor, wanted, page)
    return json_response(200, page_body(found, user_body))


@router.get("/users/{user_id}", response_model=UserOut, responses=refusals(Forbidden, UserNotFound))
async def get_user(user_id: Uuid, actor: UsersReader, runner: TheRunner) -> Reply:
    """A user."""
    found = await runner.view(queries.get_user, actor, user_id)
    return json_response(200, user_body(found))


@router.patch(
    "/users/{user_id}",
    response_model=UserOut,
    responses=refusals(Forbidden, StepUpRequired, UserNotFound, LastAdmin, LoginIsClosed, Invalid),
)
async def update_user(
    user_id: Uuid, body: AccessChange, actor: FreshUsersWriter, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """Change what a user may do, or switch them off, which ends their sessions."""
    role = None if body.role is None else Role(body.role)
    command = ChangeAccess(user_id, role, body.is_active)
    user = await runner.run(change_access, command, actor)
    tokens.forget()
    return json_response(200, user_body(user))


@router.post(
    "/users/{user_id}/rotations",
    status_code=201,
    response_model=RotationOut,
    responses=refusals(Forbidden, StepUpRequired, UserNotFound, Invalid),
)
async def create_user_rotation(
    user_id: Uuid, body: RotationCreate, actor: FreshRotator, once: TheOnce, tokens: TheTokens
) -> Reply:
    """Refuse what a user was given so far: access and refresh tokens alike, after the grace.

    They can sign in at once. Refreshing within the grace does not help beyond it.
    """
    command = RotateUser(user_id, body.reason, body.grace_seconds)
    reply = await once.run(
        rotate_user, command, actor, rotation_body, place="/admin/users/{user_id}"
    )
    tokens.forget()
    return reply


@router.post(
    "/security/rotations",
    status_code=201,
    response_model=RotationOut,
    responses=refusals(Forbidden, StepUpRequired, Invalid),
)
async def create_rotation(
    body: RotationCreate, actor: FreshRotator, once: TheOnce, tokens: TheTokens
) -> Reply:
    """Refuse what anybody was given so far, after the grace: everybody has to sign in again.

    That includes the admin who asks.
    """
    command = RotateAll(body.reason, body.grace_seconds)
    reply = await once.run(rotate_all, command, actor, rotation_body, place=_ROTATIONS)
    tokens.forget()
    return reply


@router.delete(
    "/users/{user_id}/factors",
    status_code=204,
    responses=refusals(Forbidden, StepUpRequired, UserNotFound),
)
async def delete_user_factors(
    user_id: Uuid, actor: FreshUsersWriter, runner: TheRunner, tokens: TheTokens
) -> Reply:
    """Take all second factors and passkeys from a user who has lost them; their sessions end."""
    await runner.run(remove_factors, RemoveFactors(user_id), actor)
    tokens.forget()
    return Reply(204)
