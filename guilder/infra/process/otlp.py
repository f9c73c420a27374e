"""OpenTelemetry: spans of requests and their steps, and the metrics, sent to a collector by OTLP.

Where, how often and how much of it is the SDK's to know, by its own variables (``OTEL_*``). Nobody
imports this module but ``tracing``, and that only where a collector is named.
"""

import logging
import os
import socket
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample
from starlette.types import ASGIApp, Receive, Scope, Send

from guilder import __version__
from guilder.core.clock import SystemClock
from guilder.core.ports import NO_FACTS
from guilder.infra.process.telemetry import Telemetry
from guilder.infra.process.tracing import METRICS, TRACES, Describe

NAME: Final = "guilder"
LAST_SEND_SECONDS: Final = 2.0
"""How long the end of the process waits for a collector."""
INTERVAL_MS: Final = 60_000
"""Between two looks at the metrics, unless ``OTEL_METRIC_EXPORT_INTERVAL`` says otherwise."""
_CONTEXT: Final = (b"traceparent", b"tracestate")
_FAILED: Final = 500

_log: Final = logging.getLogger(__name__)
_propagator: Final = TraceContextTextMapPropagator()


def to_collector(wanted: Collection[str]) -> "OpenTelemetry":
    """What sends the wanted signals to the collector that the environment names."""
    return OpenTelemetry(
        BatchSpanProcessor(OTLPSpanExporter()) if TRACES in wanted else None,
        OTLPMetricExporter() if METRICS in wanted else None,
    )


class OpenTelemetry:
    """Spans for a processor, and metrics for an exporter, each if there is one."""

    def __init__(self, spans: SpanProcessor | None, metrics: MetricExporter | None) -> None:
        own = {
            "service.name": NAME,
            "service.version": __version__,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
        self._resource = Resource(own).merge(OTELResourceDetector().detect())
        self._provider: TracerProvider | None = None
        self.tracer: RequestTracer | None = None
        if spans is not None:
            self._provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
            self._provider.add_span_processor(spans)
            self.tracer = RequestTracer(self._provider.get_tracer(NAME, __version__))
        self._exporter = metrics
        self._pusher: MetricsPusher | None = None

    def around(self, app: ASGIApp, describe: Describe) -> ASGIApp:
        """The application with a span around each request."""
        if self.tracer is None:
            return app
        return RequestSpans(app, self.tracer.tracer, describe)

    def start(self, telemetry: Telemetry) -> None:
        """Begin to send metrics, if they are wanted."""
        if self._exporter is not None:
            self._pusher = MetricsPusher(self._exporter, self._resource, telemetry)

    def close(self) -> None:
        """Send what is left; no longer than a moment, for the collector may be away."""
        last = threading.Thread(target=self._close, name="guilder-otel-end", daemon=True)
        last.start()
        last.join(LAST_SEND_SECONDS)

    def _close(self) -> None:
        if self._pusher is not None:
            self._pusher.close()
        if self._provider is not None:
            self._provider.shutdown()


class RequestTracer:
    """The port ``Tracer``: steps are shown as parts of a request, and only of one."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def span(
        self, name: str, facts: Mapping[str, str] = NO_FACTS
    ) -> AbstractContextManager[object]:
        """A step; outside of a request that is traced, nothing."""
        if not get_current_span().is_recording():
            return nullcontext()
        return self._step(name, facts)

    @contextmanager
    def _step(self, name: str, facts: Mapping[str, str]) -> Iterator[None]:
        with self.tracer.start_as_current_span(
            name, attributes=facts, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", getattr(error, "code", type(error).__name__))
                raise


class RequestSpans:
    """ASGI: a span around each request, in the trace of whoever asks.

    The application sees the span in ``traceparent``, as from a proxy that is in the trace.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer, describe: Describe) -> None:
        self._app = app
        self._tracer = tracer
        self._describe = describe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span of its own."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        given = [pair for pair in headers if pair[0] in _CONTEXT]
        carrier = {name.decode(): value.decode("latin-1") for name, value in given}
        parent = _propagator.extract(carrier if len(carrier) == len(given) else {})
        with self._tracer.start_as_current_span(
            NAME, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            own: dict[str, str] = {}
            _propagator.inject(own)
            others = [pair for pair in headers if pair[0] not in _CONTEXT]
            inner = [(name.encode(), value.encode("latin-1")) for name, value in own.items()]
            scope["headers"] = others + inner
            try:
                await self._app(scope, receive, send)
            finally:
                name, facts = self._describe(scope)
                span.update_name(name)
                span.set_attributes(facts)
                if int(facts["http.response.status_code"]) >= _FAILED:
                    span.set_status(StatusCode.ERROR)


class MetricsPusher:
    """Sends the metrics that ``/metrics`` shows of this process, under the same names."""

    def __init__(self, exporter: MetricExporter, resource: Resource, telemetry: Telemetry) -> None:
        self._exporter = exporter
        self._resource = resource
        self._telemetry = telemetry
        self._clock = SystemClock()
        self._began = self._now_ns()
        self._interval = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or INTERVAL_MS) / 1000
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._push_on, name="guilder-otel", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send them once more, and no longer."""
        self._ended.set()
        self._thread.join()
        self._exporter.shutdown()

    def _push_on(self) -> None:
        while not self._ended.wait(self._interval):
            self._push()
        self._push()

    def _push(self) -> None:
        try:
            self._exporter.export(self.data())
        except OSError:  # as requests raises it, what else it does not try again itself
            _log.warning("the metrics could not be sent", exc_info=True)

    def _now_ns(self) -> int:
        return self._clock.now_us() * 1000

    def data(self) -> MetricsData:
        """The metrics of the moment."""
        now = self._now_ns()
        metrics = [self._metric(family, now) for family in self._telemetry.collect()]
        scope = InstrumentationScope(NAME, __version__)
        return MetricsData(
            [ResourceMetrics(self._resource, [ScopeMetrics(scope, metrics, "")], "")]
        )

    def _metric(self, family: Family, now: int) -> Metric:
        data: Sum | Gauge | Histogram
        if family.type == "histogram":
            data = Histogram(self._histograms(family, now), AggregationTemporality.CUMULATIVE)
        else:
            points = [
                NumberDataPoint(dict(one.labels), self._began, now, one.value)
                for one in family.samples
            ]
            data = (
                Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
                if family.type == "counter"
                else Gauge(points)
            )
        return Metric(family.name, family.documentation, "", data)

    def _histograms(self, family: Family, now: int) -> list[HistogramDataPoint]:
        """One point for each combination of labels."""
        groups: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
        for sample in family.samples:
            labels = tuple(pair for pair in sorted(sample.labels.items()) if pair[0] != "le")
            groups.setdefault(labels, []).append(sample)
        return [self._histogram(dict(labels), group, now) for labels, group in groups.items()]

    def _histogram(
        self, labels: dict[str, str], samples: list[Sample], now: int
    ) -> HistogramDataPoint:
        below = [one for one in samples if one.name.endswith("_bucket")]
        totals = [int(one.value) for one in below]
        counts = [high - low for low, high in zip([0, *totals], totals, strict=False)]
        bounds = [float(one.labels["le"]) for one in below[:-1]]
        (total,) = (one.value for one in samples if one.name.endswith("_sum"))
        unknown: Any = None  # the smallest and the largest value are not kept
        return HistogramDataPoint(
            labels, self._began, now, totals[-1], total, counts, bounds, unknown, unknown
        )
