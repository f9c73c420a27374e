"""The log: lines that a machine can read, without secrets, and few writes for many lines."""

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guilder.infra.process.logging import (
    MASK,
    ConsoleLines,
    JsonLines,
    LineHandler,
    configure_logging,
    is_secret,
    show,
)
from tests.support.waiting import LONG, wait_until


class Pipe:
    """The reading end of where the log goes."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.handler = LineHandler(self.writing, flush_seconds=0.01)

    def read(self) -> bytes:
        try:
            return os.read(self.reading, 1 << 20)
        except BlockingIOError:
            return b""

    def written(self) -> bytes:
        """All that was logged until now."""
        self.handler.flush()
        return self.read()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written().splitlines()]

    def until(self, holds: Callable[[bytes], bool]) -> list[bytes]:
        """What is written without being asked for, until it is enough; each piece by itself."""
        pieces: list[bytes] = []

        def enough() -> bool:
            pieces.extend(filter(None, [self.read()]))
            return holds(b"".join(pieces))

        wait_until(enough)
        return pieces

    def fill(self) -> int:
        """Let nothing more be written; gives the bytes that it took."""
        os.set_blocking(self.writing, False)
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                taken += os.write(self.writing, b"x" * 4096)
        os.set_blocking(self.writing, True)
        return taken


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)
    os.close(pipe.writing)


@pytest.fixture
def logger(pipe: Pipe) -> Iterator[logging.Logger]:
    """The logger `guilder` writing JSON into the pipe, apart from what pytest listens to."""
    yield from listening(pipe, JsonLines())


def listening(pipe: Pipe, formatter: logging.Formatter) -> Iterator[logging.Logger]:
    handler = pipe.handler
    handler.setFormatter(formatter)
    logger = logging.getLogger("guilder")
    level, logger.propagate = logger.level, False
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    handler.flush()
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = True


def test_a_line_has_time_level_event_and_fields(pipe: Pipe, logger: logging.Logger) -> None:
    logger.info("worker %s ready", 1, extra={"fields": {"request_id": "r", "status": 200}})
    (line,) = pipe.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    assert abs(time.time() - _epoch(line["time"])) < 60
    assert (line["level"], line["event"]) == ("info", "worker 1 ready")
    assert (line["request_id"], line["status"]) == ("r", 200)


def _epoch(text: str) -> float:
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


def test_an_error_has_its_traceback_in_the_same_line(pipe: Pipe, logger: logging.Logger) -> None:
    try:
        raise ValueError("what\nhappened")
    except ValueError:
        logger.exception("failed")
    (line,) = pipe.lines()
    assert (line["level"], line["exception"]) == ("error", "ValueError")
    assert "test_logging.py" in line["traceback"]


def test_what_is_secret_by_name_is_masked_at_any_depth(pipe: Pipe, logger: logging.Logger) -> None:
    fields = {
        "password": "canary",
        "Authorization": "Bearer canary",
        "outer": {"refresh_token": "canary", "list": [{"card_number": "canary"}, "shown"]},
        "user_id": "u",
    }
    logger.info("login", extra={"fields": fields})
    raw = pipe.written()
    assert b"canary" not in raw
    line = json.loads(raw)
    assert line["outer"] == {"refresh_token": MASK, "list": [{"card_number": MASK}, "shown"]}
    assert line["user_id"] == "u"
    assert fields["password"] == "canary"  # the caller's own dictionary stays as it is


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "secret_key", "Set-Cookie", "access_token", "API-Key", "tokens",
     "cvc", "pan", "totp_code", "client_secret"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["status", "idempotency_key", "token_id", "company", "route"])
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret(name)


def test_strange_values_do_not_lose_the_line(pipe: Pipe, logger: logging.Logger) -> None:
    logger.info("odd", extra={"fields": {"a": {1, 2}, "b": object, "c": "\ud800", "d": b"x"}})
    logger.info("line\nend \x1b[31m")
    first, second = pipe.lines()
    assert first["c"] == "\ud800"
    assert second["event"] == "line\nend \x1b[31m"


def test_a_message_that_does_not_fit_its_arguments_raises_nothing(
    pipe: Pipe, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    record = logger.makeRecord("guilder", logging.INFO, "", 0, "%d", ("x",), None)
    pipe.handler.handle(record)
    assert pipe.written() == b""
    assert "Logging error" in capsys.readouterr().err


def test_access_lines_wait_for_company_but_not_long(pipe: Pipe, logger: logging.Logger) -> None:
    access = logging.getLogger("guilder.access")
    for number in range(3):
        access.info("request", extra={"fields": {"number": number}})
    (written,) = pipe.until(lambda text: text.count(b"\n") == 3)
    assert [json.loads(line)["number"] for line in written.splitlines()] == [0, 1, 2]


def test_any_other_line_takes_those_before_it_along(pipe: Pipe, logger: logging.Logger) -> None:
    pipe.handler._flush_seconds = LONG
    logging.getLogger("guilder.access").info("request")
    logger.warning("trouble")
    written = b"".join(pipe.until(lambda text: text.count(b"\n") == 2))
    events = [json.loads(line)["event"] for line in written.splitlines()]
    assert events == ["request", "trouble"]


def test_a_write_is_never_longer_than_a_pipe_takes_at_once(
    pipe: Pipe, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = os.write

    def measured(descriptor: int, data: bytes) -> int:
        if descriptor == pipe.writing:
            sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", measured)
    access = logging.getLogger("guilder.access")
    for number in range(200):
        access.info("request", extra={"fields": {"number": number, "pad": "x" * 50}})
    logger.info("end")
    assert len(pipe.lines()) == 201
    assert max(sizes) <= 4096
    assert len(sizes) < 20


def test_who_logs_never_waits_for_a_reader_and_what_is_lost_is_told(
    pipe: Pipe, logger: logging.Logger
) -> None:
    lost: list[int] = []
    pipe.handler.on_lost = lost.append
    pipe.handler._most_waiting = 10_000
    filled = pipe.fill()
    for number in range(500):
        logger.error("trouble", extra={"fields": {"number": number}})
    assert sum(lost) > 300
    assert len(os.read(pipe.reading, filled)) == filled

    def accounted(text: bytes) -> tuple[list[int], int]:
        """The numbers of the lines that came, and how many are said to be lost."""
        whole = text.rpartition(b"\n")[0].splitlines()
        lines = [json.loads(line) for line in whole]
        told = sum(line.get("lines", 0) for line in lines)
        return [line["number"] for line in lines if "number" in line], told

    written = b"".join(pipe.until(lambda text: len(accounted(text)[0]) + accounted(text)[1] >= 500))
    numbers, told = accounted(written)
    assert numbers == sorted(set(numbers))
    assert told == 500 - len(numbers) == sum(lost)


@pytest.mark.integration
@pytest.mark.parametrize("end", ["full", "closed"])
def test_a_log_that_cannot_be_written_raises_nothing_and_is_counted(
    pipe: Pipe, logger: logging.Logger, end: str
) -> None:
    lost: list[int] = []
    pipe.handler.on_lost = lost.append
    full = os.open("/dev/full", os.O_WRONLY)
    reading, writing = os.pipe()
    os.close(reading)
    pipe.handler._descriptor = full if end == "full" else writing
    for _ in range(3):
        logger.error("trouble")
    pipe.handler.flush()
    assert sum(lost) == 3
    pipe.handler._descriptor = pipe.writing
    logger.info("well again")
    first, second = pipe.lines()
    assert (first["level"], first["lines"]) == ("error", 3)
    assert second["event"] == "well again"
    os.close(full)
    os.close(writing)


def test_text_is_shown_between_the_lines_whatever_the_level(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show("without a log")
    assert capsys.readouterr().err == "without a log\n"
    monkeypatch.setattr(logging.getLogger(), "handlers", [pipe.handler])
    show("a letter\nof two lines")
    assert pipe.written() == b"a letter\nof two lines\n"


def test_a_line_for_eyes(pipe: Pipe) -> None:
    for logger in listening(pipe, ConsoleLines()):
        logger.info("request", extra={"fields": {"status": 200, "token": "canary", "no": None}})
        try:
            raise ValueError("oh")
        except ValueError:
            logger.exception("failed")
    text = pipe.written().decode()
    assert re.match(r"\d\d:\d\d:\d\d INFO     request  status=200  token=\[redacted\]\n", text)
    assert "ValueError: oh" in text


def test_configuring_replaces_what_was_there(pipe: Pipe) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    collected = {name: vars(logging)[name] for name in ("logThreads", "logProcesses", "_srcfile",
                 "logMultiprocessing", "logAsyncioTasks")}  # fmt: skip
    try:
        handler = configure_logging("warning", as_json=True, descriptor=pipe.writing)
        assert root.handlers == [handler]
        logging.getLogger("anything").info("not shown")
        logging.getLogger("anything").warning("shown")
        handler.flush()
        assert [line["event"] for line in pipe.lines()] == ["shown"]
        assert isinstance(configure_logging("info", as_json=False).formatter, ConsoleLines)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        vars(logging).update(collected)
