"""The web application: which routers there are, and what the system says of itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import Field
from starlette.applications import Starlette
from starlette.routing import Route

from guilder import __version__
from guilder.api.app import Api
from guilder.api.auth import anonymous_actor
from guilder.api.client import address_key, is_trusted
from guilder.api.compression import compressed
from guilder.api.deps import Part
from guilder.api.middleware import GatewayOptions, described_request
from guilder.api.openapi import refusals
from guilder.api.policies import HEALTH, READ, rate_limited
from guilder.api.replies import API, Reply, json_response
from guilder.api.schema import Count, ResponseBody
from guilder.bootstrap import Bank, open_bank
from guilder.core.errors import NotFound, Unavailable
from guilder.core.jobs import Job
from guilder.infra.process.connections import ConnectionBounds
from guilder.infra.process.health import HealthMonitor, Status
from guilder.infra.process.logging import line_handler
from guilder.infra.process.settings import Settings, load_settings
from guilder.infra.process.telemetry import METRICS_TYPE, Telemetry
from guilder.infra.process.tracing import Tracing
from guilder.slices import SLICES
from guilder.worker import jobs_of, jobs_running

DESCRIPTION: Final = (
    "Accounts and atomic transfers on a double-entry ledger. Amounts are integers of minor units; "
    "errors are RFC 9457 problems with a stable `code`; lists are pages with a cursor."
)

ABOUT: Final = "Guilder, a bank in a box."

TheHealthMonitor = Annotated[HealthMonitor, Depends(Part(HealthMonitor))]
TheSettings = Annotated[Settings, Depends(Part(Settings))]
TheTelemetry = Annotated[Telemetry, Depends(Part(Telemetry))]

system = APIRouter(tags=["system"], dependencies=[Depends(anonymous_actor)])


def create_app(
    settings: Settings | None = None, *, jobs: bool = False, tracing: Tracing | None = None
) -> Api:
    """The application. It opens nothing until it is started; ``jobs`` runs the worker's inside.

    ``tracing`` tells a collector of it.
    """
    settings = settings or load_settings()
    telemetry = Telemetry()
    app = Api(
        title="Guilder",
        summary="A bank in a box.",
        description=DESCRIPTION,
        version=__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "This bank."}],
        openapi_tags=[{"name": tag, "description": about} for tag, about in _tags().items()],
        lifespan=_lifespan(settings, telemetry, tracing, jobs=jobs),
        gateway=GatewayOptions(
            on_request=telemetry.request,
            hsts=settings.env == "production",
            trusted_proxies=settings.trusted_proxies,
            cors_origins=settings.cors_origins,
        ),
    )
    if tracing is not None:
        app.add_middleware(tracing.around, describe=described_request)
    app.state.ready = False
    app.include_router(system)
    for router in (router for one in SLICES for router in one.routers):
        app.include_router(router, prefix=API)
    for router in (router for one in SLICES for router in one.root_routers):
        app.include_router(router, include_in_schema=False)
    return app


def _tags() -> dict[str, str]:
    """The tags of the reference, in its order, with what each is about."""
    found: dict[str, str] = {}
    for one in SLICES:
        found |= one.tags
    return found | {"system": "What the bank says of itself, and how it is."}


def connection_bounds(settings: Settings) -> ConnectionBounds:
    """How many connections a server has with one address; proxies stand for many."""

    def speaks_for_others(address: str) -> bool:
        return is_trusted(address, settings.trusted_proxies)

    return ConnectionBounds(
        most_of_one=settings.connections_per_address, key_of=address_key, shared=speaks_for_others
    )


def create_metrics_app(app: Api) -> Starlette:
    """What answers ``GET /metrics`` of a started application, and nothing else, on its own address.

    Who reaches that is trusted: there are no limits and no access log.
    """

    async def answer(_request: Request) -> Response:
        return await _metrics(app.parts[HealthMonitor], app.parts[Telemetry])

    return Starlette(routes=[Route("/metrics", answer)])


def stop_accepting(app: FastAPI) -> None:
    """Say from now on that no new requests should come here."""
    app.state.ready = False


def _lifespan(
    settings: Settings, telemetry: Telemetry, tracing: Tracing | None, *, jobs: bool
) -> Any:
    @asynccontextmanager
    async def lifespan(app: Api) -> AsyncIterator[None]:
        if (log := line_handler()) is not None:
            log.on_lost = telemetry.lost_lines
        tracer = None if tracing is None else tracing.tracer
        async with (
            _telling(tracing, telemetry),
            open_bank(settings, telemetry, tracer=tracer) as bank,
            _jobs(bank, wanted=jobs, pushed=tracing is not None),
        ):
            app.state.bank, app.parts = bank, bank.parts
            app.state.ready = True
            yield
            stop_accepting(app)

    return lifespan


@asynccontextmanager
async def _telling(tracing: Tracing | None, telemetry: Telemetry) -> AsyncIterator[None]:
    """Send metrics as long as the block lasts, and then what is left."""
    if tracing is None:
        yield
        return
    tracing.start(telemetry)
    try:
        yield
    finally:
        await asyncio.to_thread(tracing.close)


MEASURING: Final = Job(
    "measure", 15.0, lambda parts: _measure(parts[HealthMonitor], parts[Telemetry])
)
"""For a collector: the metrics that it is sent are looked at by nobody who asks."""


def _jobs(bank: Bank, *, wanted: bool, pushed: bool) -> AbstractAsyncContextManager[None]:
    """The worker's jobs if they are ``wanted``; where metrics are ``pushed`` they are measured."""
    own = jobs_of(bank) if wanted else ()
    return jobs_running(bank, (*own, MEASURING) if pushed else own)


class About(ResponseBody):
    """What this is."""

    message: str = Field(description="What this is.", examples=[ABOUT])
    version: str = Field(description="The version of Guilder.", examples=[__version__])


class Check(ResponseBody):
    """How one part is, and by what that is known; what says nothing of a part is left out."""

    status: Status = Field(description="How the part is.")
    latency_ms: float | None = Field(None, description="Until the database answered a query.")
    waiting_seconds: float | None = Field(None, description="How long the batch in flight takes.")
    last_batch_seconds: float | None = Field(
        None, description="How long ago this process committed its last batch of transfers."
    )
    lag_seconds: float | None = Field(
        None, description="Age of the oldest event that has not reached all its subscribers."
    )
    dead_letters: Count | None = Field(None, description="Deliveries that were given up.")
    free_bytes: Count | None = Field(None, description="Left on the disk where data is written.")
    open: Count | None = Field(None, description="Open files and connections of this process.")
    limit: Count | None = Field(None, description="The most that it may have open.")


class Health(ResponseBody):
    """How all parts are: `degraded` works, and will not for long unless somebody sees to it."""

    status: Status = Field(description="How the whole is.", examples=["healthy"])
    checks: dict[str, Check] = Field(
        description="Each part by its name.",
        examples=[{"database": {"status": "healthy", "latency_ms": 0.42}}],
    )


class State(ResponseBody):
    """How the process is."""

    status: Literal["alive", "ready"] = Field(description="What it can do.")


class Unhealthy(Unavailable):
    """A part does not work; ``extra`` carries the checks."""

    code = "unhealthy"
    detail = "A part of the service does not work."
    extra_example = MappingProxyType({"checks": {"database": {"status": "unhealthy"}}})


class NotReady(Unavailable):
    """The service is starting or stopping."""

    code = "not_ready"
    detail = "The service is starting or stopping."


def _shown(text: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"text/plain": {"example": text}}}}


@system.get("/", response_model=About)
@rate_limited(READ)
async def get_about() -> Reply:
    """What this is."""
    return json_response(200, {"message": ABOUT, "version": __version__})


@system.get("/health", response_model=Health, responses=refusals(Unhealthy))
@rate_limited(HEALTH)
async def get_health(monitor: TheHealthMonitor) -> Reply:
    """How the parts are: each is tried, and a row is written and read now and then."""
    status, parts = await monitor.look()
    checks = {name: Check(**asdict(part)) for name, part in parts.items()}
    shown = {name: check.model_dump(exclude_none=True) for name, check in checks.items()}
    if status is Status.UNHEALTHY:
        raise Unhealthy(extra={"checks": shown})
    return json_response(200, {"status": status, "checks": shown})


@system.get("/health/live", response_model=State)
@rate_limited(HEALTH)
async def get_liveness() -> Reply:
    """That the process answers."""
    return json_response(200, {"status": "alive"})


@system.get("/health/ready", response_model=State, responses=refusals(NotReady))
@rate_limited(HEALTH)
async def get_readiness(request: Request) -> Reply:
    """Whether requests should come here: not before the start is over, nor once it stops."""
    if not request.app.state.ready:
        raise NotReady()
    return json_response(200, {"status": "ready"})


@system.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=_shown('guilder_health_status{check="database",status="healthy"} 1.0\n')
    | refusals(NotFound),
)
@rate_limited(HEALTH)
@compressed
async def get_metrics(
    settings: TheSettings, monitor: TheHealthMonitor, telemetry: TheTelemetry
) -> Response:
    """Metrics of all workers in the Prometheus text format; not found where they are not public."""
    if not settings.shows_metrics:
        raise NotFound()
    return await _metrics(monitor, telemetry)


async def _metrics(monitor: HealthMonitor, telemetry: Telemetry) -> Response:
    await _measure(monitor, telemetry)
    return Response(telemetry.render(), media_type=METRICS_TYPE)


async def _measure(monitor: HealthMonitor, telemetry: Telemetry) -> None:
    """Look at the parts as ``/health`` does, which ends in seconds whatever stands still."""
    _, parts = await monitor.look()
    telemetry.health(parts)
