"""Metrics in the Prometheus text format.

With several workers each writes into files of a shared folder, named by the environment variable
``PROMETHEUS_MULTIPROC_DIR`` before this module is imported, and any of them can sum up all.
"""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from guilder import __version__
from guilder.infra.process.health import PartHealth, Status

MULTIPROCESS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
ROOM_BYTES: Final = 2 << 20
"""Of each file of metrics; all series that there can be take less than half of it."""
_FILES: Final = ("counter", "histogram", "gauge_livesum", "gauge_livemostrecent")
METRICS_TYPE: Final = CONTENT_TYPE_LATEST

_LIVE: Final = "gauge_livesum_"
"""What the files begin with that are removed when their process has ended."""
_OLDEST: Final = "process_start_time_seconds"

# Of each counter the time when it began, which nobody asks for:
disable_created_metrics()  # type: ignore[no-untyped-call]

type _OverAll = Literal["livesum", "livemostrecent"]
"""What the gauge of all workers is: their sum, or what the last of them has seen."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_POSTINGS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def reserve_room(folder: Path, process: int) -> bool:
    """Whether the disk has room for the metrics of a process, which is then taken.

    They are written into memory that files are mapped to: where a full disk has no block for it,
    the system ends the process.
    """
    try:
        for kind in _FILES:
            path = folder / f"{kind}_{process}.db"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, ROOM_BYTES)
            finally:
                os.close(descriptor)
    except OSError:
        for kind in _FILES:
            (folder / f"{kind}_{process}.db").unlink(missing_ok=True)
        return False
    return True


class _Processes(Collector):
    """What the system says of the processes, all workers together, and what they run.

    The times, bytes and descriptors of all are added up; the start is that of the oldest.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """The metrics of the moment."""
        yield InfoMetricFamily(
            "guilder_build",
            "What runs.",
            {"version": __version__, "python": platform.python_version()},
        )
        sums: dict[str, Metric] = {}
        for process in self._processes():
            for found in ProcessCollector(pid=lambda one=process: one, registry=None).collect():  # type: ignore[misc]
                known = sums.setdefault(found.name, found)
                if known is not found:
                    combine = min if found.name == _OLDEST else sum
                    values = [one.samples[0].value for one in (known, found) if one.samples]
                    known.samples = [found.samples[0]._replace(value=combine(values))]
        yield from sums.values()

    def _processes(self) -> list[int]:
        if self._folder is None:
            return [os.getpid()]
        names = [path.stem for path in Path(self._folder).glob(f"{_LIVE}*.db")]
        return [int(name.removeprefix(_LIVE)) for name in names]


class _Declared:
    """Metrics as they are declared, each with its labels by its name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.labels: dict[str, tuple[str, ...]] = {}

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        self.labels[name] = labels
        return Counter(name, about, labels, registry=self.registry)

    def histogram(self, name: str, about: str, buckets: Sequence[float], *labels: str) -> Histogram:
        self.labels[name] = labels
        return Histogram(name, about, labels, buckets=buckets, registry=self.registry)

    def gauge(self, name: str, about: str, over_all: _OverAll, *labels: str) -> Gauge:
        self.labels[name] = labels
        return Gauge(name, about, labels, multiprocess_mode=over_all, registry=self.registry)


class Telemetry:
    """The counters of one process. Also the observer of the ledger's poster.

    ``labels`` are those of each metric of the bank's own, by its name.
    """

    def __init__(self) -> None:
        declared = _Declared()
        self._registry, self.labels = declared.registry, declared.labels
        counter, histogram, gauge = declared.counter, declared.histogram, declared.gauge
        self._health = gauge(
            "guilder_health_status",
            "1 for the status that a check of GET /health has, 0 for the others.",
            "livemostrecent", "check", "status",
        )  # fmt: skip
        self._requests = counter(
            "guilder_http_requests",
            "Requests answered, by the template of their route.",
            "method", "route", "status",
        )  # fmt: skip
        self._latencies = histogram(
            "guilder_http_request_seconds",
            "Time from a request to the end of its answer.",
            _SECONDS, "method", "route",
        )  # fmt: skip
        self._refusals = counter(
            "guilder_http_refusals", "Requests answered with a problem, by its code.", "code"
        )
        self._sign_ins = counter(
            "guilder_sign_ins",
            "Attempts to sign in: succeeded, or the code of the problem.",
            "outcome",
        )
        self._limited = counter(
            "guilder_rate_limit_hits",
            "Requests refused because their caller asks too often.",
            "route_class",
        )
        self._batch_postings = histogram(
            "guilder_poster_batch_postings", "Postings a batch of the ledger.", _POSTINGS
        )
        self._batch_seconds = histogram(
            "guilder_poster_batch_seconds", "Time a batch of the ledger takes.", _SECONDS
        )
        self._queue = gauge(
            "guilder_poster_queue_postings", "Postings that wait for the next batch.", "livesum"
        )
        self._lag = gauge(
            "guilder_outbox_lag_seconds",
            "Age of the oldest event that has not reached every subscriber.",
            "livemostrecent",
        )
        self._dead = gauge(
            "guilder_outbox_dead_deliveries", "Deliveries that were given up.", "livemostrecent"
        )
        self._lost_lines = counter(
            "guilder_log_lost_lines",
            "Lines of the log that could not be written, or not soon enough.",
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(
        self, method: str, route: str, status: int, seconds: float, code: str | None = None
    ) -> None:
        """Count an answer; ``route`` is the template, so that ids do not multiply the series.

        ``code`` is that of the problem, if it is one.
        """
        key = (method, route, status)
        if (children := self._children.get(key)) is None:
            children = (
                self._requests.labels(method, route, str(status)),
                self._latencies.labels(method, route),
            )
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)
        if code is not None:
            self._refusals.labels(code).inc()

    def sign_in(self, outcome: str) -> None:
        """Count an attempt to sign in."""
        self._sign_ins.labels(outcome).inc()

    def limited(self, route_class: str) -> None:
        """Count a request that a rate limit has refused."""
        self._limited.labels(route_class).inc()

    def lost_lines(self, lines: int) -> None:
        """Count lines that the log has lost."""
        self._lost_lines.inc(lines)

    def batch(self, postings: int, seconds: float) -> None:
        """A batch of the ledger has ended."""
        self._batch_postings.observe(postings)
        self._batch_seconds.observe(seconds)

    def queue(self, postings: int) -> None:
        """So many postings wait now."""
        self._queue.set(postings)

    def health(self, parts: Mapping[str, PartHealth]) -> None:
        """How the parts are now, each by its name, and what is known of deliveries."""
        for name, part in parts.items():
            for status in Status:
                self._health.labels(name, status).set(part.status is status)
            if part.lag_seconds is not None:
                self._lag.set(part.lag_seconds)
            if part.dead_letters is not None:
                self._dead.set(part.dead_letters)

    def collect(self) -> Iterator[Metric]:
        """The metrics of this process alone."""
        yield from self._registry.collect()
        yield from _Processes(None).collect()

    def render(self) -> bytes:
        """All metrics as text; with several workers, of all of them."""
        registry, folder = self._registry, os.environ.get(MULTIPROCESS_FOLDER)
        if folder:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        about = CollectorRegistry()
        about.register(_Processes(folder or None))
        return generate_latest(registry) + generate_latest(about)
