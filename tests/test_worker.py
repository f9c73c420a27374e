"""The periodic jobs: one that fails does not stop, nor does it stop the others."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from guilder import bootstrap
from guilder.bootstrap import Bank, close, mailer, open_bank
from guilder.core.actor import SYSTEM
from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.core.events import Delivery, Subscriber, on
from guilder.core.jobs import Job
from guilder.core.parts import Parts
from guilder.domains.identity.services.letters import VERIFY_EMAIL, LetterSender
from guilder.domains.ledger.ports import no_more
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Unit, UnitResult
from guilder.infra.mail.local import ConsoleMailer, FileMailer
from guilder.infra.mail.smtp import SmtpMailer
from guilder.infra.process.settings import Settings
from guilder.worker import jobs_of, jobs_running
from tests.db import owner
from tests.infra.dispatch import Tell, Told, tell
from tests.support.waiting import LONG


@pytest.fixture
async def bank(database_url: str, tmp_path: Path) -> AsyncIterator[Bank]:
    values = {"env": "test", "data_dir": tmp_path, "database_url": database_url}
    async with open_bank(Settings.model_validate(values)) as bank:
        yield bank


@dataclass
class Work:
    """Counts its turns and may fail at each."""

    error: BaseException | None = None
    turns: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, _parts: Parts) -> None:
        self.turns += 1
        if self.turns >= 3:
            self.enough.set()
        if self.error is not None:
            raise self.error


async def test_jobs_are_done_again_and_again_whatever_fails(
    bank: Bank, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = Work(), Work(ValueError("what happened"))
    jobs = (Job("good", 0.001, good), Job("bad", 0.001, bad))
    async with asyncio.timeout(LONG), jobs_running(bank, jobs):
        await good.enough.wait()
        await bad.enough.wait()
    failures = [record for record in caplog.records if record.message == "job failed"]
    assert len(failures) >= 2
    assert failures[0].__dict__["fields"] == {"job": "bad"}
    assert failures[0].exc_info is not None
    turns = good.turns
    await asyncio.sleep(0.01)
    assert good.turns == turns


async def test_a_job_whose_work_was_cancelled_is_done_again(bank: Bank) -> None:
    work = Work(asyncio.CancelledError())
    async with asyncio.timeout(LONG), jobs_running(bank, (Job("cancelled", 0.001, work),)):
        await work.enough.wait()


async def test_a_job_that_runs_is_ended_with_the_others(bank: Bank) -> None:
    begun = asyncio.Event()

    async def endless(_parts: Parts) -> None:
        begun.set()
        await asyncio.sleep(3600)

    async with asyncio.timeout(LONG), jobs_running(bank, (Job("endless", 1, endless),)):
        await begun.wait()


async def test_every_job_has_something_to_do(bank: Bank) -> None:
    assert {job.name for job in jobs_of(bank)} == {
        "expire due holds", "drop full buckets", "prune events", "prune answers",
        "forget old letters", "drop old logins",
        "deliver to identity.letters",
    }  # fmt: skip
    for job in jobs_of(bank):
        assert job.interval_seconds > 0
        assert await job.work(bank.parts) == 0


async def write_a_letter(parts: Parts, event: Told, delivery: Delivery) -> None:
    sender = parts[LetterSender]
    link = f"{sender.address}/verify?token=made-from-{event.number}"
    letter = sender.writer.compose(
        VERIFY_EMAIL, "ada@example.com", delivery.key, link=link, hours=24
    )
    await sender.mailer.send(letter)


async def test_an_event_becomes_a_letter_which_the_database_does_not_know(
    database_url: str, tmp_path: Path
) -> None:
    values = {
        "env": "test", "data_dir": tmp_path, "database_url": database_url,
        "mail_url": f"file:{tmp_path / 'mail'}", "mail_from": "Bank <bank@example.com>",
    }  # fmt: skip
    wanted = (Subscriber("letters", on(Told, write_a_letter)),)
    settings = Settings.model_validate(values)
    async with asyncio.timeout(LONG), open_bank(settings, subscribers=wanted) as bank:
        await bank.runner.run(tell, Tell((Told("user:1", 1), Told("user:1", 2))), SYSTEM)
        assert (await bank.dispatcher.backlog()).lag_seconds >= 0
        async with jobs_running(bank):
            while len(found := list((tmp_path / "mail").glob("*.eml"))) < 2:
                await asyncio.sleep(0.02)
        for job in jobs_of(bank):
            assert await job.work(bank.parts) == 0
    assert any("made-from-2" in path.read_text() for path in found)
    for table in ("outbox", "outbox_deliveries", "audit_events"):
        assert "made-from" not in str(await owner.rows(database_url, f"SELECT * FROM {table}"))


class HangingStore:
    """A store that never answers: a database that has frozen."""

    async def commit(
        self, units: list[Unit], more: Callable[[], None] = no_more
    ) -> list[UnitResult]:
        await asyncio.sleep(3600)
        return []

    async def close(self) -> None:
        """Nothing is open."""


async def test_closing_is_bounded_and_names_what_hangs(
    bank: Bank, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "CLOSE_SECONDS", 0.3)
    poster = Poster(HangingStore())
    poster.start()
    waiting = asyncio.ensure_future(poster.submit(Unit([])))
    await asyncio.sleep(0.01)
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(LONG):
            await close(replace(bank, poster=poster))
    assert [record.__dict__["fields"] for record in caplog.records] == [{"part": "poster"}]
    waiting.cancel()


@pytest.mark.parametrize(
    ("url", "kind"),
    [("console:", ConsoleMailer), ("file:/tmp/x", FileMailer), ("smtp://u:p@h", SmtpMailer)],
)
def test_mail_goes_the_way_the_settings_say(url: str, kind: type) -> None:
    settings = Settings.model_validate({"mail_url": url, "mail_from": "a@b"})
    assert type(mailer(settings, SystemClock())) is kind


@pytest.mark.parametrize("wrapped", [True, False])
async def test_jobs_without_a_database_are_told_once_by_the_cause_and_rest_longer_and_longer(
    bank: Bank, caplog: pytest.LogCaptureFixture, *, wrapped: bool
) -> None:
    refused = ConnectionRefusedError(111, "Connect call failed")
    away = Unavailable()
    away.__cause__ = refused
    work, other = Work(away if wrapped else refused), Work(refused)
    jobs = (Job("first", 0.001, work), Job("second", 0.001, other))
    async with asyncio.timeout(LONG), jobs_running(bank, jobs):
        await work.enough.wait()
        await other.enough.wait()
        await asyncio.sleep(0.1)
    (told,) = [record for record in caplog.records if "job" in record.message]
    assert told.message == "jobs wait for the database"
    assert told.exc_info is None
    cause = "ConnectionRefusedError: [Errno 111] Connect call failed"
    assert told.__dict__["fields"] == {"cause": cause}
    assert work.turns < 12
    assert other.turns < 12
