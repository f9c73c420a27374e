"""A server that tells a collector of itself by OTLP, until its end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.cli.serving import environment, serving
from tests.support.constants import ADA, API

pytestmark = [pytest.mark.integration, pytest.mark.heavy]

TRACE = "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """The address of a collector, and what it was sent."""
    sent: list[tuple[str, bytes]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_collector_gets_the_spans_and_the_metrics(sqlite_url: str, tmp_path: Path) -> None:
    with collector() as (address, sent):
        values = environment(sqlite_url, tmp_path) | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=trial",
        }
        with serving(tmp_path, values) as running:
            given = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
            running.client.post(f"{running.base}{API}/users", json=ADA, headers=given)
            assert running.stop() == 0
            assert TRACE in {line.get("trace_id") for line in running.lines()}
    spans, metrics = ExportTraceServiceRequest(), ExportMetricsServiceRequest()
    for path, body in sent:
        if path == "/v1/traces":
            spans.MergeFromString(body)
        else:
            assert path == "/v1/metrics"
            metrics.MergeFromString(body)
    resource = {
        one.key: one.value.string_value for one in spans.resource_spans[0].resource.attributes
    }
    assert (resource["service.name"], resource["deployment.environment"]) == ("guilder", "trial")
    names = {
        span.name
        for told in spans.resource_spans
        for scope in told.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    }
    assert {f"POST {API}/users", "SELECT"} <= names
    counted = {
        metric.name
        for told in metrics.resource_metrics
        for scope in told.scope_metrics
        for metric in scope.metrics
    }
    assert {"guilder_http_requests", "guilder_http_request_seconds", "guilder_build"} <= counted
    assert "guilder_health_status" in counted


def test_a_collector_that_is_away_holds_nothing_up(sqlite_url: str, tmp_path: Path) -> None:
    values = environment(sqlite_url, tmp_path) | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"
    }
    with serving(tmp_path, values) as running:
        assert running.get("/health").status_code == 200
        assert running.stop() == 0
