"""Every route has a rate limit that somebody chose: by its method when its caller is signed in."""

from collections.abc import Iterator

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from guilder.api.app import Api
from guilder.api.policies import (
    BULK,
    LOGIN,
    POLICIES,
    READ,
    UNLIMITED,
    WRITE,
    RateLimitPolicy,
    RouteClass,
    declared_policy,
    rate_limited,
)
from guilder.api.routing import requirements_of
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.api.plumbing import CurrentActor

MAY_BE_UNLIMITED = {"/health", "/health/live", "/health/ready", "/metrics"}


def without_policy(app: FastAPI) -> Iterator[str]:
    """Routes for which nobody has said how often they may be asked."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            assert context.endpoint is not None
            if problem := _problem(context, declared_policy(context.endpoint)):
                yield f"{context.path_format}: {problem}"


def _problem(route: RouteContext, declared: RateLimitPolicy | None) -> str | None:
    if declared is UNLIMITED:
        free = route.path_format in MAY_BE_UNLIMITED
        return None if free else "only health and metrics may be unlimited"
    if declared is None and route.max_body_size:
        return "it takes more than others: name a policy with @limited"
    if requirements_of(route).permission is not None:
        return None
    if declared is None:
        return "whoever asks is not known: name a policy with @limited"
    if "POST" in (route.methods or ()) and declared.route_class is not RouteClass.STRICT:
        return "a stranger may write here: it needs a strict policy"
    return None


def test_every_route_has_a_policy() -> None:
    app = create_app(Settings.model_validate({"env": "test"}))
    assert sum(1 for _ in iter_route_contexts(app.routes)) > 20
    assert list(without_policy(app)) == []


def test_a_route_without_policy_is_found() -> None:
    router = APIRouter()

    @router.post("/open")
    async def unnamed() -> None: ...

    @router.get("/peek")
    async def unnamed_too() -> None: ...

    @router.post("/free")
    @rate_limited(UNLIMITED)
    async def free() -> None: ...

    @router.post("/lax")
    @rate_limited(READ)
    async def lax() -> None: ...

    @router.post("/large", max_body_size=8_000_000)
    async def large(body: list[int], actor: CurrentActor) -> None: ...

    @router.post("/signed-in")
    async def fine(actor: CurrentActor) -> None: ...

    @router.post("/strict")
    @rate_limited(LOGIN)
    async def fine_too() -> None: ...

    app = Api(title="Planted", version="1")
    app.include_router(router)
    found = [line.partition(":")[0] for line in without_policy(app)]
    assert found == ["/open", "/peek", "/free", "/lax", "/large"]


def test_a_signed_in_route_has_the_policy_of_its_method() -> None:
    app = create_app(Settings.model_validate({"env": "test"}))
    policies = {
        (method, context.path_format): requirements_of(context).policy
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    }
    assert policies["GET", "/api/v1/transfers"] is READ
    assert policies["POST", "/api/v1/transfers"] is WRITE
    assert policies["PUT", "/api/v1/simulations/clock"] is WRITE
    assert policies["POST", "/api/v1/transfers/batches"] is BULK
    for path in ("/api/v1/sessions", "/api/v1/auth/login", "/auth/login"):
        assert policies["POST", path] is LOGIN


def test_every_policy_has_a_name_of_its_own_and_its_words() -> None:
    assert len({policy.name for policy in POLICIES}) == len(POLICIES)
    for policy in POLICIES:
        assert policy.about
        assert (policy.rate is None) == (policy.route_class is RouteClass.NONE)
