"""The log: one JSON object a line on standard error, or text for eyes on a terminal.

Extra facts travel as ``extra={"fields": {...}}``; what is secret by its name is masked.
The access log runs thousands of times a second, so its lines are gathered for up to a tenth of a
second and written together; every other line is written at once, with those before it. Whoever logs
never waits for the reader and never fails: see ``LineHandler``.
"""

import contextlib
import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

ACCESS_LOGGER: Final = "guilder.access"
FLUSH_SECONDS: Final = 0.1
MOST_WAITING: Final = 1 << 20
"""Bytes of lines that wait for a reader; more are lost."""
PARTING_SECONDS: Final = 1.0
"""How long the end of the process waits for a reader."""
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
    """Writes lines to a file descriptor, in a thread of its own: nobody else waits for a reader.

    Lines of the access log wait ``flush_seconds`` for company. What cannot be written, and what
    comes while ``most_waiting`` bytes wait, is lost and counted; the next line that can be written
    says how many were. ``on_lost`` is told each time.
    """

    def __init__(
        self,
        descriptor: int,
        flush_seconds: float = FLUSH_SECONDS,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        super().__init__()
        self.on_lost: Callable[[int], None] = _not_counted
        self._descriptor = descriptor
        self._flush_seconds = flush_seconds
        self._most_waiting = most_waiting
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._hurry = False
        self._writing = False
        self._untold = 0
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line in."""
        try:
            line = self.format(record)
        except (ValueError, TypeError, LookupError, AttributeError):
            self.handleError(record)  # a message that does not fit its arguments
            return
        self.put(line, hurry=record.name != ACCESS_LOGGER or record.levelno >= logging.WARNING)

    def put(self, text: str, *, hurry: bool = True) -> None:
        """Take in text that stands by itself; one in a hurry takes those before it along."""
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            if self._size + len(data) > self._most_waiting:
                self._lose(1)
                return
            self._lines.append(data)
            self._size += len(data)
            self._hurry = self._hurry or hurry
            if hurry or len(self._lines) == 1:
                self._changed.notify_all()
            if self._writer is None:
                self._writer = threading.Thread(
                    target=self._write_on, name="guilder-log", daemon=True
                )
                self._writer.start()

    def flush(self) -> None:
        """Wait until all is written, but not long: there may be nobody who reads."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._lines or self._writing), PARTING_SECONDS)

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                self._changed.wait_for(lambda: self._hurry, self._flush_seconds)
                self._hurry, self._writing = False, True
                untold, self._untold = self._untold, 0
                lines, self._lines, self._size = self._lines, deque(), 0
            if untold:
                lines.appendleft(self._confession(untold))
            lost = sum(self._write(some) for some in _together(lines))
            with self._changed:
                if lost:
                    self._untold += untold
                    self._lose(min(lost, len(lines) - bool(untold)))
                self._writing = False
                self._changed.notify_all()

    def _write(self, lines: list[bytes]) -> int:
        """Write some lines at once; tells how many were lost."""
        data = b"".join(lines)
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody has made it so; we may wait
                select.select((), (self._descriptor,), (), self._flush_seconds)
            except OSError:
                return len(lines)
        return 0

    def _lose(self, lines: int) -> None:
        self._untold += lines
        self.on_lost(lines)

    def _confession(self, lines: int) -> bytes:
        fields: dict[str, object] = {"lines": lines}
        event = "log lines were lost: they could not be written, or not soon enough"
        record = logging.LogRecord(__name__, logging.ERROR, "", 0, event, None, None)
        vars(record)["fields"] = fields
        return self.format(record).encode("utf-8", "backslashreplace") + b"\n"


def _not_counted(_lines: int) -> None:
    """Nobody counts what is lost."""


def _together(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines in groups that a pipe takes at once; a longer line is by itself."""
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > _ATOMIC:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line)
    if group:
        yield group


def line_handler() -> LineHandler | None:
    """Where the log of this process goes, once it is configured."""
    handlers = logging.getLogger().handlers
    return next((one for one in handlers if isinstance(one, LineHandler)), None)


def show(text: str) -> None:
    """Show text between the lines of the log, whatever its level; it may be lost as they may."""
    if (handler := line_handler()) is not None:
        handler.put(text)
        return
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - there is no log


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
