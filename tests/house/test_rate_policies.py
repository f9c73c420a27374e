"""Every route has a rate limit that somebody chose: by its method when its caller is signed in."""

from collections.abc import Iterator

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from guilder.api.app import Api
from guilder.api.json_gate import LARGE_BYTES
from guilder.api.middleware import Gateway
from guilder.api.policies import (
    ASSETS,
    BULK,
    HEALTH,
    LOGIN,
    POLICIES,
    READ,
    WRITE,
    RateLimitPolicy,
    RouteClass,
    declared_policy,
    rate_limited,
)
from guilder.api.routing import requirements_of
from guilder.core.rates import RATES, Rate
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.api.plumbing import CurrentActor


def without_policy(app: FastAPI) -> Iterator[str]:
    """Routes for which nobody has said how often they may be asked."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            assert context.endpoint is not None
            if problem := _problem(context, declared_policy(context.endpoint)):
                yield f"{context.path_format}: {problem}"


def _problem(route: RouteContext, declared: RateLimitPolicy | None) -> str | None:
    if declared is None and (route.max_body_size or 0) > LARGE_BYTES:
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
    assert found == ["/open", "/peek", "/lax", "/large"]


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
    assert policies["PUT", "/api/v1/users/me/password"] is LOGIN
    assert policies["POST", "/api/v1/users/me/totp/confirmations"] is LOGIN
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert policies["GET", path] is HEALTH
    for path in ("/api/v1/sessions", "/api/v1/auth/login", "/auth/login"):
        assert policies["POST", path] is LOGIN


def test_every_policy_has_a_name_of_its_own_and_its_words() -> None:
    assert len({policy.name for policy in POLICIES}) == len(POLICIES)
    assert {policy.name for policy in POLICIES} == RATES.keys()
    assert all(policy.about for policy in POLICIES)


def test_pages_and_assets_have_a_policy() -> None:
    app = create_app(Settings.model_validate({"env": "test"}))
    table = Gateway(app.router.routes, app, app.gateway_options, {}).table
    for path in ("/docs", "/redoc", "/openapi.json", "/docs/assets/start.js"):
        found = table.find("GET", path)
        assert found is not None
        assert found[0].requirements.policy is ASSETS


def test_every_policy_is_a_setting() -> None:
    settings = Settings.model_validate({"env": "test", "rate_read": "5/2h"})
    rates = settings.policy_rates()
    assert rates.pop("read") == Rate(5, 7_200)
    assert rates == {name: rate for name, rate in RATES.items() if name != "read"}
