"""Metrics in the Prometheus text format.

With several workers each writes into files of a shared folder, named by the environment variable
``PROMETHEUS_MULTIPROC_DIR`` before this module is imported, and any of them can sum up all.
"""

import os
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
ROOM_BYTES: Final = 2 << 20
"""Of each file of metrics; all series that there can be take less than half of it."""
_FILES: Final = ("counter", "histogram", "gauge_livesum", "gauge_livemostrecent")
METRICS_TYPE: Final = CONTENT_TYPE_LATEST

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


class Telemetry:
    """The counters of one process. Also the observer of the ledger's poster."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "guilder_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._latencies = Histogram(
            "guilder_http_request_seconds",
            "Time from a request to the end of its answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_postings = Histogram(
            "guilder_poster_batch_postings",
            "Postings a batch of the ledger.",
            buckets=_POSTINGS,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "guilder_poster_batch_seconds",
            "Time a batch of the ledger takes.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue = Gauge(
            "guilder_poster_queue_postings",
            "Postings that wait for the next batch.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._limited = Counter(
            "guilder_rate_limit_hits",
            "Requests refused because their caller asks too often.",
            ("route_class",),
            registry=registry,
        )
        self._lag = Gauge(
            "guilder_outbox_lag_seconds",
            "Age of the oldest event that has not reached every subscriber.",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self._dead = Gauge(
            "guilder_outbox_dead_deliveries",
            "Deliveries that were given up.",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self._lost_lines = Counter(
            "guilder_log_lost_lines",
            "Lines of the log that could not be written, or not soon enough.",
            registry=registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; ``route`` is the template, so that ids do not multiply the series."""
        key = (method, route, status)
        if (children := self._children.get(key)) is None:
            children = (
                self._requests.labels(method, route, str(status)),
                self._latencies.labels(method, route),
            )
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

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

    def outbox(self, lag_seconds: float, dead: int) -> None:
        """How late the outbox is now, and how many deliveries are dead."""
        self._lag.set(lag_seconds)
        self._dead.set(dead)

    def render(self) -> bytes:
        """All metrics as text; with several workers, of all of them."""
        registry = self._registry
        if os.environ.get(MULTIPROCESS_FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
