"""Whether the bank tells an OpenTelemetry collector of itself, by the standard's own variables.

OpenTelemetry itself is an extra and is imported only where it is wanted: see ``otlp``.
"""

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from starlette.types import ASGIApp, Scope

from guilder.core.ports import Tracer
from guilder.infra.process.telemetry import Telemetry

TRACES: Final = "TRACES"
METRICS: Final = "METRICS"
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL: Final = "http/protobuf"

_log: Final = logging.getLogger(__name__)

type Facts = Mapping[str, str | int]
type Describe = Callable[[Scope], tuple[str, Facts]]
"""Tells the name of a request that has been answered, and what is to be known of it."""


class Tracing(Protocol):
    """What tells a collector of requests and metrics."""

    @property
    def tracer(self) -> Tracer | None:
        """What shows the steps of requests, if that is wanted."""
        ...

    def around(self, app: ASGIApp, describe: Describe) -> ASGIApp:
        """The application with a span around each request."""
        ...

    def start(self, telemetry: Telemetry) -> None:
        """Begin to send metrics."""
        ...

    def close(self) -> None:
        """Send what is left, and end."""
        ...


def signals_wanted(environment: Mapping[str, str]) -> frozenset[str]:
    """Which signals are to be sent: those with an endpoint, or whose exporter is named."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return frozenset()
    return frozenset(one for one in (TRACES, METRICS) if _is_wanted(one, environment))


def _is_wanted(signal: str, environment: Mapping[str, str]) -> bool:
    exporter = environment.get(f"OTEL_{signal}_EXPORTER", "").strip()
    if exporter not in ("", "otlp", "none"):
        _log.warning(
            "only the exporter otlp is there",
            extra={"fields": {f"OTEL_{signal}_EXPORTER": exporter}},
        )
        return False
    own = f"OTEL_EXPORTER_OTLP_{signal}_"
    endpoint = environment.get(own + "ENDPOINT") or environment.get(_ENDPOINT)
    if exporter == "none" or not (exporter or endpoint):
        return False
    protocol = environment.get(own + "PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", _PROTOCOL):
        _log.warning(
            f"only {_PROTOCOL} is spoken to a collector", extra={"fields": {"signal": signal}}
        )
        return False
    return True


def open_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """What tells a collector of the bank, None where none is named or the extra is missing."""
    wanted = signals_wanted(environment)
    if not wanted:
        return None
    try:
        otlp = importlib.import_module("guilder.infra.process.otlp")
    except ModuleNotFoundError as error:
        _log.warning(
            "nothing is sent to the collector: install guilder[otel]",
            extra={"fields": {"missing": error.name}},
        )
        return None
    tracing: Tracing = otlp.to_collector(wanted)
    return tracing
