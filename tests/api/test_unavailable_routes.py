"""A 503 says why, in the log: once in a while, with the cause, and never to the client."""

import logging
from pathlib import Path

import pytest

from guilder.core.errors import Unavailable, cause_of
from guilder.core.sparse_log import SparseLog
from guilder.db.engine import Database
from tests.support.app import app_on, bank_of, started
from tests.support.constants import ADA, API

AWAY = "postgresql://nobody:canary@127.0.0.1:1/nothing"


async def test_the_log_names_the_cause_once_for_many_requests(
    database_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "guilder.api.middleware._sparse", SparseLog(logging.getLogger("guilder.api"))
    )
    app = app_on(database_url, tmp_path)
    async with started(app) as client:
        away, bank = Database(AWAY), bank_of(app)
        there, bank.runner.database = bank.runner.database, away
        answers = [await client.post(f"{API}/sessions", json=ADA) for _ in range(3)]
        bank.runner.database = there
        await away.close()
    assert {answer.status_code for answer in answers} == {503}
    lines = [record for record in caplog.records if record.message == "unavailable"]
    (fields,) = [vars(record)["fields"] for record in lines]
    assert fields["cause"].startswith("ConnectionRefusedError: ")
    assert fields["code"] == "unavailable"
    assert fields["route"] == f"{API}/sessions"
    assert fields["request_id"] == answers[0].headers["x-request-id"]
    assert "canary" not in caplog.text + answers[0].text
    assert "Refused" not in answers[0].text


def test_a_cause_is_what_was_raised_first_in_one_line() -> None:
    first = OSError(28, "No space left on device")
    second = RuntimeError("a batch\nof several lines")
    second.__cause__ = first
    refusal = Unavailable()
    assert cause_of(refusal) == "Unavailable: The service cannot answer now. Try again shortly."
    refusal.__cause__ = second
    assert cause_of(refusal) == "OSError: [Errno 28] No space left on device"
    second.__cause__ = None
    assert cause_of(refusal) == "RuntimeError: a batch"
