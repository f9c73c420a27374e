"""Every route says who may use it, in one way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_type_hints

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.responses import Response
from starlette.routing import BaseRoute

from guilder.api.auth import AnonymousActor, requires
from guilder.api.routing import RouteRequirements, lean_endpoint, requirements_of
from guilder.core.actor import Actor
from guilder.core.permissions import Permission
from guilder.infra.process.settings import Settings
from guilder.main import create_app

Reader = Annotated[Actor, requires(Permission.ACCOUNTS_READ)]
OPEN = {
    "GET /", "GET /health", "GET /health/live", "GET /health/ready", "GET /metrics",
    "POST /api/v1/users", "POST /api/v1/sessions", "POST /api/v1/tokens",
    "POST /api/v1/auth/signup", "POST /api/v1/auth/login",
    "POST /auth/signup", "POST /auth/login",
    "POST /api/v1/auth/revoke", "POST /auth/revoke", "GET /.well-known/oauth-authorization-server",
    "POST /api/v1/email-verification-tokens", "POST /api/v1/email-verifications",
    "POST /api/v1/password-reset-tokens", "POST /api/v1/password-resets",
    "GET /verify-email", "GET /reset-password", "GET /remove-factors",
    "GET /.well-known/webauthn", "GET /.well-known/change-password",
    "POST /api/v1/email-changes", "POST /api/v1/email-change-reversals",
    "GET /confirm-email", "GET /undo-email",
    "POST /api/v1/factor-removals", "GET /pages/letters.css", "GET /pages/letters.js",
    "POST /api/v1/passkeys/challenges", "POST /api/v1/passkeys/sessions",
}  # fmt: skip
STEP_UP = {
    "POST /api/v1/users/me/totp", "DELETE /api/v1/users/me/totp",
    "POST /api/v1/users/me/recovery-codes",
    "POST /api/v1/passkeys/registrations", "DELETE /api/v1/passkeys/{passkey_id}",
    "DELETE /api/v1/admin/users/{user_id}/factors",
    "PATCH /api/v1/admin/users/{user_id}",
    "POST /api/v1/users/me/email-changes", "DELETE /api/v1/users/me",
    "POST /api/v1/admin/users/{user_id}/rotations", "POST /api/v1/admin/security/rotations",
}  # fmt: skip


def requirements(routes: Sequence[BaseRoute]) -> dict[str, RouteRequirements]:
    """What each operation demands."""
    return {
        f"{method} {context.path_format}": requirements_of(context)
        for context in iter_route_contexts(routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    }


def unsaid(routes: Sequence[BaseRoute]) -> list[str]:
    """Operations that say neither who may use them nor that everybody may, or say both."""
    return [
        name
        for name, found in requirements(routes).items()
        if (found.permission is None) is not found.is_public
    ]


def test_every_route_says_who_may_use_it(tmp_path: Path) -> None:
    app = create_app(Settings.model_validate({"env": "test", "data_dir": tmp_path}))
    assert unsaid(app.routes) == []
    found = {name for name, one in requirements(app.routes).items() if one.is_public}
    assert found == OPEN  # what is open to everybody is a decision, made here


def test_what_a_stolen_access_token_is_not_enough_for_is_a_decision(tmp_path: Path) -> None:
    app = create_app(Settings.model_validate({"env": "test", "data_dir": tmp_path}))
    assert {name for name, one in requirements(app.routes).items() if one.fresh} == STEP_UP
    paths = app.openapi()["paths"]
    for name in STEP_UP:
        method, _, path = name.partition(" ")
        operation = paths[path][method.lower()]
        assert operation["x-step-up"] is True
        assert "`step_up_required`" in operation["responses"]["403"]["description"]


def unanswered(routes: Sequence[BaseRoute]) -> list[str]:
    """Operations that do not answer with a finished reply; lean ones are declared only."""
    return [
        f"{context.path_format}: {context.endpoint.__name__}"
        for context in iter_route_contexts(routes)
        if isinstance(context.original_route, APIRoute)
        and context.endpoint is not None
        and lean_endpoint(context.endpoint) is None
        and not _is_reply(get_type_hints(context.endpoint)["return"])
    ]


def _is_reply(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Response)


def test_every_route_answers_with_a_reply(tmp_path: Path) -> None:
    app = create_app(Settings.model_validate({"env": "test", "data_dir": tmp_path}))
    assert unanswered(app.routes) == []


def test_a_route_that_leaves_the_answer_to_fastapi_is_found() -> None:
    app = FastAPI()

    @app.get("/model")
    async def model() -> dict[str, str]:
        """Answers a dict."""
        return {}

    assert unanswered(app.routes)[-1] == "/model: model"


def test_a_route_that_says_nothing_or_both_is_found() -> None:
    router = APIRouter()

    @router.get("/silent")
    async def silent() -> None:
        """Says nothing."""

    @router.get("/both")
    async def both(a: AnonymousActor, b: Reader) -> None:
        """Says two things."""

    @router.get("/sound")
    async def sound(a: Reader) -> None:
        """Says one."""

    app = FastAPI()
    app.include_router(router)
    assert unsaid(app.routes) == ["GET /silent", "GET /both"]
