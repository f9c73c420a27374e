"""The log: one JSON object a line on standard error, or text for eyes on a terminal.

Extra facts travel as ``extra={"fields": {...}}``; what is secret by its name is masked.
The access log runs thousands of times a second, so its lines are gathered for up to a tenth of a
second and written together; every other line is written at once, with those before it.
"""

import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

ACCESS_LOGGER: Final = "guilder.access"
FLUSH_SECONDS: Final = 0.1
MASK: Final = "[redacted]"
_PLAIN: Final = frozenset((str, int, float, bool, type(None)))
_ATOMIC: Final = 4096
"""Largest write that several processes can make into one pipe without mixing their lines."""

_SECRET: Final = re.compile(
    r"passw(or)?d|secret|cookie|authorization|credential"
    r"|(^|_)(token|(api|private|encryption|signing)_key|cvc|cvv|pan|card_number|otp|totp_code)s?$"
)


@lru_cache(maxsize=1024)
def is_secret(name: object) -> bool:
    """Whether a value under this name must not be shown."""
    return _SECRET.search(str(name).lower().replace("-", "_")) is not None


def redacted(value: Any) -> Any:
    """The value with everything secret in it masked, at any depth."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {
            name: MASK if is_secret(name) else inner if type(inner) in _PLAIN else redacted(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return value


class JsonLines(logging.Formatter):
    """One compact JSON object a record: time, level, event, the fields, and a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._second = (0, "")
        self._process = os.getpid()

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            "process": self._process,
        }
        fields = getattr(record, "fields", None)
        if fields:
            line |= redacted(fields)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return self._encoder.encode(line).decode()
        except UnicodeEncodeError:  # half a surrogate pair from outside: escaped, not lost
            return json.dumps(line, default=str)

    def _time(self, created: float) -> str:
        """RFC 3339; the part down to the second is worked out once a second."""
        second, micros = divmod(int(created * 1_000_000), 1_000_000)
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{micros:06d}Z"


class ConsoleLines(logging.Formatter):
    """A line for eyes: local time, level, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        parts = [f"{at} {record.levelname:<8} {record.getMessage()}"]
        fields = redacted(getattr(record, "fields", None) or {})
        parts += [f"{name}={value}" for name, value in fields.items() if value is not None]
        text = "  ".join(parts)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor; lines of the access log wait a moment for company."""

    def __init__(self, descriptor: int, flush_seconds: float = FLUSH_SECONDS) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._flush_seconds = flush_seconds
        self._lines: list[bytes] = []
        self._size = 0
        self._wanted = threading.Event()
        self._flusher: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line in; called under the handler's lock."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except (ValueError, TypeError, LookupError, AttributeError):
            self.handleError(record)  # a message that does not fit its arguments
            return
        if self._size + len(line) > _ATOMIC:
            self._write()
        self._lines.append(line)
        self._size += len(line)
        if record.name != ACCESS_LOGGER or record.levelno >= logging.WARNING:
            self._write()
        elif not self._wanted.is_set():
            self._flush_soon()

    def flush(self) -> None:
        """Write what waits."""
        with self.lock or threading.RLock():
            self._write()

    def _write(self) -> None:
        data, self._lines, self._size = b"".join(self._lines), [], 0
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _flush_soon(self) -> None:
        self._wanted.set()
        if self._flusher is None:
            self._flusher = threading.Thread(
                target=self._flush_again, name="guilder-log", daemon=True
            )
            self._flusher.start()

    def _flush_again(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(self._flush_seconds)
            self._wanted.clear()
            self.flush()


def configure_logging(level: str, *, as_json: bool, descriptor: int = 2) -> LineHandler:
    """Send the log of this process to ``descriptor``, in place of what was set before.

    Facts that no line shows (thread, task, place in the code) are not collected any more.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    vars(logging).update(logAsyncioTasks=False, _srcfile=None)  # the latter spares a stack walk
    handler = LineHandler(descriptor)
    handler.setFormatter(JsonLines() if as_json else ConsoleLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("uvicorn.error", "asyncio", "alembic.runtime.migration", "aiosqlite"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return handler
