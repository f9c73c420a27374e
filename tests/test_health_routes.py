"""Health: what it sees of the parts, what it costs, and what is degraded rather than unhealthy."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest

from guilder.api.app import Api
from guilder.core.clock import HOUR_US, SystemClock
from guilder.db.engine import Database, is_sqlite, sqlite_path
from guilder.db.postgres import postgres_dsn
from guilder.infra.process import health
from guilder.infra.process.health import HealthMonitor
from tests.db import owner
from tests.support.app import app_on, bank_of, started
from tests.support.constants import ADA, API
from tests.support.statements import statements
from tests.support.waiting import lag_measured

PARTS = {"database", "poster", "jobs", "disk", "descriptors"}


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Api:
    return app_on(database_url, tmp_path)


@pytest.fixture(autouse=True)
def looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Health is looked at anew, and the row is written, each time that it is asked for."""
    monkeypatch.setattr(health, "HEALTH_SECONDS", -1.0)
    monkeypatch.setattr(health, "WRITE_SECONDS", -1.0)


@pytest.fixture
async def client(app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


async def parts_of(client: httpx.AsyncClient, status: int, overall: str) -> dict[str, Any]:
    answer = await client.get("/health")
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.get("code" if status == 503 else "status") == overall
    assert set(body["checks"]) == PARTS
    found: dict[str, Any] = body["checks"]
    return found


async def test_all_is_well_and_a_row_of_its_own_is_written(
    app: Api, client: httpx.AsyncClient, database_url: str
) -> None:
    parts = await parts_of(client, 200, "healthy")
    assert {part["status"] for part in parts.values()} == {"healthy"}
    assert parts["database"]["latency_ms"] >= 0
    assert parts["poster"] == {"status": "healthy", "waiting_seconds": 0.0}
    assert parts["jobs"] == {"status": "healthy", "lag_seconds": 0.0, "dead_letters": 0}
    assert parts["disk"]["free_bytes"] > 0
    assert 0 < parts["descriptors"]["open"] < parts["descriptors"]["limit"]
    ((written_at,),) = await owner.rows(database_url, "SELECT written_at FROM health_row")
    assert abs(written_at - bank_of(app).clock.now_us()) < HOUR_US


async def test_many_who_ask_cost_one_look_and_one_write(
    app: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "HEALTH_SECONDS", 3600.0)
    monkeypatch.setattr(health, "WRITE_SECONDS", 3600.0)
    with statements(bank_of(app).database) as said:
        for _ in range(3):
            await asyncio.gather(*[parts_of(client, 200, "healthy") for _ in range(10)])
    assert sum("health_row SET" in sql for sql, _ in said) == 1
    assert len(said) < 12


async def test_a_database_that_reads_and_does_not_write_is_unhealthy(
    client: httpx.AsyncClient, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await owner.execute(database_url, "ALTER TABLE health_row RENAME TO elsewhere")
    parts = await parts_of(client, 503, "unhealthy")
    assert parts["database"]["status"] == "unhealthy"
    assert "latency_ms" in parts["database"]
    assert {parts[name]["status"] for name in PARTS - {"database"}} == {"healthy"}
    await owner.execute(database_url, "ALTER TABLE elsewhere RENAME TO health_row")
    await parts_of(client, 200, "healthy")
    told = [record.message for record in caplog.records if record.message.startswith("health is")]
    assert told == ["health is now unhealthy"]


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[None]:
    """Somebody holds what health writes."""
    async with AsyncExitStack() as stack:
        if is_sqlite(url):
            rival = stack.enter_context(
                closing(sqlite3.connect(sqlite_path(url), isolation_level=None))
            )
            rival.execute("BEGIN IMMEDIATE")
        else:
            server = await asyncpg.connect(postgres_dsn(url))
            stack.push_async_callback(server.close)
            await server.execute("BEGIN")
            await server.execute("SELECT 1 FROM health_row FOR UPDATE")
        yield


@pytest.mark.heavy
async def test_a_database_that_somebody_holds_is_told_in_seconds(
    client: httpx.AsyncClient, database_url: str
) -> None:
    await parts_of(client, 200, "healthy")
    async with lag_measured() as lag:
        async with locked(database_url):
            for _ in range(2):
                begun = time.monotonic()
                parts = await parts_of(client, 503, "unhealthy")
                assert time.monotonic() - begun < 4 + lag.worst
                assert parts["database"]["status"] == "unhealthy"
        async with asyncio.timeout(60):
            while (await client.get("/health")).status_code == 503:
                await asyncio.sleep(0.1)


async def test_a_batch_that_does_not_end_is_seen(
    app: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    poster = bank_of(app).poster
    poster._begun_at = time.monotonic() - 3
    parts = await parts_of(client, 200, "degraded")
    assert parts["poster"]["status"] == "degraded"
    assert parts["poster"]["waiting_seconds"] >= 3
    poster._begun_at = time.monotonic() - 6
    assert (await parts_of(client, 503, "unhealthy"))["poster"]["status"] == "unhealthy"
    poster._begun_at = None


async def test_late_jobs_are_degraded(app: Api, client: httpx.AsyncClient) -> None:
    """They lose nothing: what they have to do waits."""
    assert (await client.post(f"{API}/users", json=ADA)).status_code == 201
    asked = await client.post(f"{API}/password-reset-tokens", json={"email": ADA["email"]})
    assert asked.status_code == 201
    await owner.execute(
        bank_of(app).database.url,
        f"UPDATE outbox_deliveries SET created_at = created_at - {HOUR_US}",
    )
    parts = await parts_of(client, 200, "degraded")
    assert parts["jobs"]["status"] == "degraded"
    assert parts["jobs"]["lag_seconds"] > 3000


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How much is left, as the system tells it."""
    left = {"bytes": 1 << 40, "open": 10, "limit": 1000}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, left["bytes"]))
    monkeypatch.setattr(health, "open_descriptors", lambda: left["open"])
    monkeypatch.setattr(health, "most_descriptors", lambda: left["limit"])
    return left


@pytest.mark.parametrize(
    ("change", "part", "status"),
    [
        ({"bytes": 200 << 20}, "disk", "degraded"),
        ({"bytes": 20 << 20}, "disk", "unhealthy"),
        ({"open": 810}, "descriptors", "degraded"),
        ({"open": 960}, "descriptors", "unhealthy"),
    ],
)
async def test_what_runs_out_is_degraded_before_it_is_unhealthy(
    client: httpx.AsyncClient,
    spent: dict[str, int],
    change: dict[str, int],
    part: str,
    status: str,
) -> None:
    await parts_of(client, 200, "healthy")
    spent |= change
    parts = await parts_of(client, 503 if status == "unhealthy" else 200, status)
    assert parts[part]["status"] == status


async def test_a_database_that_is_away_is_unhealthy_and_the_process_is_alive(
    app: Api, client: httpx.AsyncClient
) -> None:
    bank, away = bank_of(app), Database("postgresql://nobody@127.0.0.1:1/nothing")
    app.parts.by_class[HealthMonitor] = HealthMonitor(
        away, SystemClock(), bank.poster, bank.dispatcher.backlog, ()
    )
    parts = await parts_of(client, 503, "unhealthy")
    assert parts["database"] == {"status": "unhealthy"}
    assert parts["poster"]["status"] == "healthy"
    assert (await client.get("/health/live")).status_code == 200
    await away.close()


@pytest.mark.heavy
async def test_a_database_that_says_nothing_holds_up_neither_metrics_nor_many_who_ask(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them wait for one look, which gives up in seconds."""
    monkeypatch.setattr(health, "HEALTH_SECONDS", 1.0)
    asked: list[asyncio.StreamWriter] = []

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)

    app = app_on(sqlite_url, tmp_path)
    async with started(app) as client, await asyncio.start_server(say_nothing, "127.0.0.1") as mute:
        port = mute.sockets[0].getsockname()[1]
        away = Database(f"postgresql://nobody@127.0.0.1:{port}/nothing?sslmode=disable")
        bank = bank_of(app)
        app.parts.by_class[HealthMonitor] = HealthMonitor(
            away, SystemClock(), bank.poster, bank.dispatcher.backlog, ()
        )
        try:
            async with lag_measured() as lag:
                begun = time.monotonic()
                shown, *told = await asyncio.gather(
                    client.get("/metrics"), *[client.get("/health") for _ in range(5)]
                )
                assert time.monotonic() - begun < 6 + lag.worst
        finally:
            for writer in asked:
                writer.close()
        assert 'guilder_health_status{check="database",status="unhealthy"} 1.0' in shown.text
        assert {one.status_code for one in told} == {503}
        assert len(asked) == 1
        await away.close()


async def test_liveness_asks_no_part(app: Api, client: httpx.AsyncClient) -> None:
    with statements(bank_of(app).database) as said:
        for _ in range(20):
            assert (await client.get("/health/live")).json() == {"status": "alive"}
    assert said == []
