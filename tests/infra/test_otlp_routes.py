"""OpenTelemetry: what a request is made of, in whose trace, and the metrics."""

import ast
import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.metrics.export import (
    Histogram,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from guilder.api.app import Api
from guilder.infra.process.otlp import OpenTelemetry
from guilder.infra.process.settings import Settings
from guilder.infra.process.telemetry import Telemetry
from guilder.infra.process.tracing import METRICS, TRACES, open_tracing, signals_wanted
from guilder.main import create_app
from tests.house.source import ROOT
from tests.support.app import started
from tests.support.constants import API
from tests.support.logins import bearer, signed_up
from tests.support.waiting import LONG

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
GIVEN = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def app(database_url: str, tmp_path: Path, kept: InMemorySpanExporter) -> Api:
    values = {"env": "test", "data_dir": tmp_path, "database_url": database_url}
    settings = Settings.model_validate(values | {"rate_limits": False})
    return create_app(settings, tracing=OpenTelemetry(SimpleSpanProcessor(kept), None))


@pytest.fixture
async def client(app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with started(app) as client:
        yield client


def below(spans: Sequence[ReadableSpan], above: ReadableSpan) -> list[ReadableSpan]:
    """The steps right below a span, in the order in which they began."""
    assert above.context is not None
    found = [one for one in spans if one.parent and one.parent.span_id == above.context.span_id]
    return sorted(found, key=lambda one: one.start_time or 0)


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_request_is_a_span_with_its_steps_in_the_trace_of_who_asks(
    client: httpx.AsyncClient, kept: InMemorySpanExporter
) -> None:
    ada = await signed_up(client)
    kept.clear()
    body = {"full_name": "Ada Lovelace"}
    made = await client.patch(f"{API}/users/me", json=body, headers=bearer(ada) | GIVEN)
    assert made.status_code == 200
    spans = kept.get_finished_spans()
    assert {f"{one.context.trace_id:032x}" for one in spans if one.context} == {TRACE}
    (request,) = [one for one in spans if one.kind is SpanKind.SERVER]
    assert request.name == "PATCH /api/v1/users/me"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT
    assert facts(request) == {
        "http.request.method": "PATCH",
        "http.route": "/api/v1/users/me",
        "http.response.status_code": 200,
        "guilder.request_id": made.headers["x-request-id"],
    }
    assert [one.name for one in below(spans, request)][-1] == "user.change_name"
    command = below(spans, request)[-1]
    statements = below(spans, command)
    assert "UPDATE" in {one.name for one in statements}
    assert all(facts(one)["db.system.name"] in {"sqlite", "postgresql"} for one in statements)
    shown = " ".join(str(facts(one)) for one in spans)
    assert "UPDATE identity_users SET" in shown
    assert ada["user"]["id"] not in shown


async def test_a_light_read_shows_its_statements(
    client: httpx.AsyncClient, kept: InMemorySpanExporter
) -> None:
    ada = await signed_up(client)
    kept.clear()
    assert (await client.get(f"{API}/accounts", headers=bearer(ada) | GIVEN)).status_code == 200
    spans = kept.get_finished_spans()
    (request,) = [one for one in spans if one.kind is SpanKind.SERVER]
    query = below(spans, request)[-1]
    (statement,) = below(spans, query)
    assert (query.name, statement.name) == ("list_accounts", "SELECT")
    assert "FROM accounts" in facts(statement)["db.query.text"]
    assert ada["user"]["id"] not in str(facts(statement))


async def test_a_transfer_waits_for_its_batch_in_a_step_of_its_own(
    client: httpx.AsyncClient, kept: InMemorySpanExporter
) -> None:
    ada = await signed_up(client)
    account = {"type": "checking", "currency": "EUR"}
    ids = [
        (await client.post(f"{API}/accounts", json=account, headers=bearer(ada))).json()["id"]
        for _ in range(2)
    ]
    kept.clear()
    wanted = {"from_account_id": ids[0], "to_account_id": ids[1], "amount": 1}
    refused = await client.post(f"{API}/transfers", json=wanted, headers=bearer(ada))
    assert refused.json()["code"] == "insufficient_funds"
    spans = kept.get_finished_spans()
    (request,) = [one for one in spans if one.kind is SpanKind.SERVER]
    assert facts(request)["error.type"] == "insufficient_funds"
    assert request.status.status_code is StatusCode.UNSET
    assert "ledger.submit" in [one.name for one in below(spans, request)]


async def test_a_line_of_the_access_log_has_the_trace(
    client: httpx.AsyncClient, kept: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "guilder.access")
    await client.get("/health/live", headers=GIVEN)
    await client.get("/health/live")
    first, second = [vars(one)["fields"] for one in caplog.records if one.name == "guilder.access"]
    assert first["trace_id"] == TRACE
    (span,) = [one for one in kept.get_finished_spans() if one.parent is None]
    assert span.context is not None
    assert second["trace_id"] == f"{span.context.trace_id:032x}"


@pytest.mark.parametrize(
    "given",
    [
        [("traceparent", "00-0-0-01")],
        [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("traceparent", f"00-{TRACE}-{PARENT}-01")],
        [("traceparent", "\u00e9")],
        [],
    ],
)
async def test_a_context_that_cannot_be_read_begins_a_new_trace(
    client: httpx.AsyncClient, kept: InMemorySpanExporter, given: list[tuple[str, str]]
) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in given]
    answer = await client.get("/nowhere", headers=headers)
    assert answer.status_code == 404
    (span,) = kept.get_finished_spans()
    assert (span.name, span.parent) == ("GET unmatched", None)
    assert facts(span)["error.type"] == "not_found"


async def test_jobs_and_what_is_not_sampled_leave_nothing(
    client: httpx.AsyncClient, kept: InMemorySpanExporter
) -> None:
    await client.get("/health", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert kept.get_finished_spans() == ()


class Kept(MetricExporter):
    """A collector that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[MetricsData] = []
        self.closed = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = None, **_: Any
    ) -> MetricExportResult:
        self.sent.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        self.closed = True


def test_the_metrics_are_those_of_prometheus_and_the_last_ones_are_sent_at_the_end() -> None:
    collector, telemetry = Kept(), Telemetry()
    sending = OpenTelemetry(None, collector)
    assert sending.tracer is None
    sending.start(telemetry)
    telemetry.request("GET", "/a/{id}", 404, 0.004, "not_found")
    telemetry.request("GET", "/a/{id}", 404, 0.3, "not_found")
    telemetry.queue(5)
    sending.close()
    assert collector.closed
    (data,) = collector.sent[-1].resource_metrics
    assert data.resource.attributes["service.name"] == "guilder"
    metrics = {one.name: one.data for one in data.scope_metrics[0].metrics}
    requests = metrics["guilder_http_requests"]
    assert isinstance(requests, Sum)
    assert requests.is_monotonic
    (point,) = requests.data_points
    assert isinstance(point, NumberDataPoint)
    assert (point.value, dict(point.attributes or {})) == (
        2,
        {"method": "GET", "route": "/a/{id}", "status": "404"},
    )
    seconds = metrics["guilder_http_request_seconds"]
    assert isinstance(seconds, Histogram)
    (spread,) = seconds.data_points
    assert (spread.count, round(spread.sum, 3)) == (2, 0.304)
    counted = dict(zip(spread.explicit_bounds, spread.bucket_counts, strict=False))
    assert {bound: number for bound, number in counted.items() if number} == {0.005: 1, 0.5: 1}
    assert len(spread.bucket_counts) == len(spread.explicit_bounds) + 1
    assert {"guilder_build", "guilder_poster_queue_postings", "process_cpu_seconds"} <= set(metrics)


async def test_a_collector_is_told_how_the_parts_are(database_url: str, tmp_path: Path) -> None:
    """Though nobody has asked for health or metrics."""
    values = {"env": "test", "data_dir": tmp_path, "database_url": database_url}
    collector = Kept()
    app = create_app(Settings.model_validate(values), tracing=OpenTelemetry(None, collector))
    async with started(app):
        async with asyncio.timeout(LONG):
            while b'guilder_health_status{check="database"' not in app.parts[Telemetry].render():
                await asyncio.sleep(0.01)
    (data,) = collector.sent[-1].resource_metrics
    metrics = {one.name: one.data for one in data.scope_metrics[0].metrics}
    told = {
        (point.attributes["check"], point.attributes["status"]): point.value
        for point in metrics["guilder_health_status"].data_points
        if isinstance(point, NumberDataPoint) and point.attributes
    }
    assert told["database", "healthy"] == told["poster", "healthy"] == 1
    assert told["database", "unhealthy"] == 0


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, set()),
        (ENDPOINT, {TRACES, METRICS}),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {TRACES}),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"}, {TRACES}),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, {METRICS}),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, set()),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "console"}, {METRICS}),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, set()),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, {TRACES, METRICS}),
    ],
)
def test_the_variables_of_the_standard_say_what_is_sent(
    environment: dict[str, str], wanted: set[str]
) -> None:
    assert signals_wanted(environment) == wanted


def test_without_the_extra_it_is_told_and_the_bank_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(_name: str) -> None:
        raise ModuleNotFoundError("no", name="opentelemetry")

    monkeypatch.setattr("guilder.infra.process.tracing.importlib.import_module", missing)
    assert open_tracing(ENDPOINT) is None
    assert "install guilder[otel]" in caplog.text


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_opentelemetry_is_imported_in_one_place_and_that_by_nobody() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): name
        for path in (ROOT / "guilder").rglob("*.py")
        for name in imported(path)
        if name.startswith("opentelemetry") or name.endswith(".otlp")
    }
    assert found.keys() == {"guilder/infra/process/otlp.py"}
