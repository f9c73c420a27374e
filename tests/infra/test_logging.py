"""The log: lines that a machine can read, without secrets, and few writes for many lines."""

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from guilder.infra.process.logging import (
    MASK,
    ConsoleLines,
    JsonLines,
    LineHandler,
    configure_logging,
    is_secret,
)
from tests.support.waiting import LONG


class Pipe:
    """The reading end of where the log goes."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def read(self) -> bytes:
        try:
            return os.read(self.reading, 1 << 20)
        except BlockingIOError:
            return b""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read().splitlines()]


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
    handler = LineHandler(pipe.writing, flush_seconds=0.01)
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
    raw = pipe.read()
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
    LineHandler(pipe.writing).handle(record)
    assert pipe.read() == b""
    assert "Logging error" in capsys.readouterr().err


def test_access_lines_wait_for_company_but_not_long(pipe: Pipe, logger: logging.Logger) -> None:
    access = logging.getLogger("guilder.access")
    for number in range(3):
        access.info("request", extra={"fields": {"number": number}})
    assert pipe.read() == b""
    deadline = time.monotonic() + LONG
    lines: list[dict[str, Any]] = []
    while not lines and time.monotonic() < deadline:
        time.sleep(0.01)
        lines = pipe.lines()
    assert [line["number"] for line in lines] == [0, 1, 2]


def test_any_other_line_takes_those_before_it_along(pipe: Pipe, logger: logging.Logger) -> None:
    logging.getLogger("guilder.access").info("request")
    logger.warning("trouble")
    assert [line["event"] for line in pipe.lines()] == ["request", "trouble"]


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


def test_a_line_for_eyes(pipe: Pipe) -> None:
    for logger in listening(pipe, ConsoleLines()):
        logger.info("request", extra={"fields": {"status": 200, "token": "canary", "no": None}})
        try:
            raise ValueError("oh")
        except ValueError:
            logger.exception("failed")
    text = pipe.read().decode()
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
        assert [line["event"] for line in pipe.lines()] == ["shown"]
        assert isinstance(configure_logging("info", as_json=False).formatter, ConsoleLines)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        vars(logging).update(collected)
