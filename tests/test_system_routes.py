"""What the system says of itself over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from guilder import __version__
from guilder.api.app import Api
from guilder.api.openapi import CODES
from guilder.api.problems import problem_type
from guilder.core.clock import SystemClock
from guilder.db.deliveries import Deliveries
from guilder.db.engine import Database
from guilder.infra.process.dispatcher import Dispatcher
from guilder.infra.process.health import HealthMonitor
from guilder.main import create_metrics_app, stop_accepting
from tests.support.app import PRODUCTION, app_on, bank_of, started
from tests.support.declared import UNMATCHED, document
from tests.support.logins import signed_up

HTML = "text/html; charset=utf-8"


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Api:
    return app_on(database_url, tmp_path)


@pytest.fixture
async def client(app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def test_the_root_says_what_this_is(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.json() == {"message": "Guilder, a bank in a box.", "version": __version__}


@pytest.mark.parametrize("path", ["/health", "/health/"])
async def test_all_is_well(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "healthy"
    assert body["checks"]["poster"]["status"] == "healthy"
    assert body["checks"]["database"]["latency_ms"] >= 0


async def test_a_poster_that_has_ended_is_told(client: httpx.AsyncClient) -> None:
    (poster,) = (task for task in asyncio.all_tasks() if task.get_name() == "poster")
    poster.cancel()
    await asyncio.sleep(0)
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["checks"]["poster"]["status"]) == (503, "unhealthy")


async def test_readiness_ends_when_the_stop_begins(app: Api, client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/ready")).status_code == 200
    stop_accepting(app)
    assert (await client.get("/health/ready")).status_code == 503
    assert (await client.get("/health/live")).status_code == 200


async def test_metrics_count_requests_by_template(client: httpx.AsyncClient) -> None:
    await client.get("/health/live")
    await client.get("/no/such/thing")
    text = (await client.get("/metrics")).text
    line = 'guilder_http_requests_total{method="GET",route="/health/live",status="200"} 1.0'
    assert line in text
    assert 'route="unmatched",status="404"' in text
    assert "/no/such" not in text


async def test_metrics_count_sign_ins_by_outcome_and_refusals_by_code(
    client: httpx.AsyncClient,
) -> None:
    await signed_up(client)
    wrong = {"username": "nobody@example.com", "password": "wrong password"}
    for door in ("/auth/login", "/api/v1/auth/login"):
        assert (await client.post(door, data=wrong)).status_code == 401
    lines = (await client.get("/metrics")).text.splitlines()
    assert 'guilder_sign_ins_total{outcome="succeeded"} 1.0' in lines
    assert 'guilder_sign_ins_total{outcome="invalid_credentials"} 2.0' in lines
    assert 'guilder_http_refusals_total{code="invalid_credentials"} 2.0' in lines


async def test_metrics_are_there_while_the_database_is_away(
    app: Api, client: httpx.AsyncClient
) -> None:
    away, clock = Database("postgresql://nobody@127.0.0.1:1/nothing"), SystemClock()
    app.parts.by_class[HealthMonitor] = HealthMonitor(
        away, clock, bank_of(app).poster, Dispatcher(Deliveries(away, clock), ("mail",)).backlog, ()
    )
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert "guilder_outbox_lag_seconds 0.0" in answer.text
    for check, status in (("database", "unhealthy"), ("jobs", "degraded"), ("poster", "healthy")):
        line = f'guilder_health_status{{check="{check}",status="{status}"}} 1.0'
        assert line in answer.text.splitlines()
    await away.close()


async def test_metrics_tell_how_every_part_of_a_sound_bank_is(client: httpx.AsyncClient) -> None:
    checks = (await client.get("/health")).json()["checks"]
    lines = (await client.get("/metrics")).text.splitlines()
    told = {line for line in lines if line.startswith("guilder_health_status{")}
    assert told == {
        f'guilder_health_status{{check="{check}",status="{status}"}} {float(status == "healthy")}'
        for check in checks
        for status in ("healthy", "degraded", "unhealthy")
    }


async def test_metrics_are_not_public_in_production(sqlite_url: str, tmp_path: Path) -> None:
    async with started(app_on(sqlite_url, tmp_path, **PRODUCTION)) as client:
        answer = await client.get("/metrics")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "strict-transport-security" in answer.headers
    public = app_on(sqlite_url, tmp_path, metrics_public=True, **PRODUCTION)
    async with started(public) as client:
        assert (await client.get("/metrics")).status_code == 200


async def test_metrics_with_an_address_of_their_own_are_nowhere_else(
    sqlite_url: str, tmp_path: Path
) -> None:
    app = app_on(sqlite_url, tmp_path, metrics_address="127.0.0.1:9100")
    transport = httpx.ASGITransport(app=create_metrics_app(app))
    own = httpx.AsyncClient(transport=transport, base_url="http://metrics.test")
    async with started(app) as client, own as aside:
        assert (await client.get("/metrics")).status_code == 404
        answer = await aside.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert 'guilder_http_requests_total{method="GET",route="/metrics",status="404"} 1.0' in (
            answer.text
        )
        assert (await aside.get("/health")).status_code == 404
        assert (await aside.post("/metrics")).status_code == 405


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
async def test_the_reference_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    answer = await client.post("/health")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


async def test_a_bank_can_close_and_open_again(app: Api) -> None:
    for _ in range(2):
        async with started(app) as client:
            assert (await client.get("/health/ready")).status_code == 200


async def test_the_type_of_every_problem_leads_to_its_entry_in_the_reference(
    client: httpx.AsyncClient,
) -> None:
    operations = [one for path in document()["paths"].values() for one in path.values()]
    codes = UNMATCHED.union(*(operation[CODES] for operation in operations))
    assert len(codes) > 50
    index = (await client.get("/problems")).text
    for code in codes:
        page = await client.get(problem_type(code))
        assert (page.status_code, page.headers["content-type"]) == (200, HTML), code
        assert f"<code>{code}</code>" in page.text
        assert f'href="{problem_type(code)}"' in index
    listed = document()["components"]["schemas"]["Problem"]["properties"]["code"]
    assert set(listed["x-extensible-enum"]) == codes
    refused = (await client.get("/nothing")).json()
    assert (await client.get(refused["type"])).status_code == 200
    assert (await client.get("/problems/no_such_code")).status_code == 404
