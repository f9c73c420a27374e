"""The oldest part of the trail moves into files, and the whole can be proved all the same."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from guilder.archiving import Archived, TrailArchiver
from guilder.core.clock import DAY_US, FixedClock
from guilder.core.permissions import Role
from guilder.db.audit_archive import InvalidArchive
from guilder.db.engine import Database
from guilder.db.guards import broken_guard
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.audit import repository
from guilder.domains.audit.verify import AuditReport, verify_audit
from guilder.domains.identity.commands.users import ChangeAccess, change_access
from guilder.infra.security.signing import RingAuditSigner
from guilder.tables import metadata
from guilder.verification import verify_view
from tests.db import owner
from tests.db.house import START, TELLER, Note, write_note
from tests.domains.audit.back_door import back_door
from tests.support.builders import a_user

SIGNER = RingAuditSigner(b"k" * 32)
MONTH = 30


class Trail:
    """A trail that grows by six rows a month, of which a command can remove the oldest."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.clock = FixedClock(START)
        self.database = Database(url)
        self.owners = Database(url, as_owner=True)
        self.runner = Runner(self.database, self.clock, signer=SIGNER)

    async def months(self, count: int) -> None:
        for _ in range(count):
            for _ in range(3):
                await self.runner.run(write_note, Note("x"), TELLER)
            self.clock.advance(days=MONTH)

    async def archive(self, name: str, months_ago: int) -> Archived | None:
        before_us = self.clock.now_us() - months_ago * MONTH * DAY_US
        runner = Runner(self.owners, self.clock, signer=SIGNER)
        archiver = TrailArchiver(runner, SIGNER)
        return await archiver.archive(self.folder / name, before_us, lambda *_: None)

    async def report(self, *archives: str, anchor: tuple[int, str] | None = None) -> AuditReport:
        paths = [self.folder / name for name in archives]
        return await self.runner.view(verify_audit, signer=SIGNER, anchor=anchor, archives=paths)

    async def broken(
        self, *archives: str, anchor: tuple[int, str] | None = None
    ) -> tuple[str, str] | None:
        found = (await self.report(*archives, anchor=anchor)).broken
        return None if found is None else (found.key, found.problem)

    async def numbers(self) -> tuple[int, int]:
        ((first, last),) = await owner.rows(self.url, "SELECT min(id), max(id) FROM audit_events")
        return first, last


@pytest.fixture
async def trail(database_url: str, tmp_path: Path) -> AsyncIterator[Trail]:
    made = Trail(database_url, tmp_path)
    yield made
    await made.database.close()
    await made.owners.close()


async def test_the_oldest_part_moves_into_a_file_and_the_rest_still_holds(trail: Trail) -> None:
    await trail.months(4)
    whole = await trail.report()
    done = await trail.archive("a.jsonl.gz", 2)
    assert done is not None
    assert (done.first, done.last, done.has_more) == (1, 12, False)
    assert await trail.numbers() == (13, 26)  # and two about the archive
    found = await trail.report()
    assert (found.broken, found.archived, found.in_files) == (None, 12, 0)
    assert (found.number, found.keyed_from) == (26, 13)
    checked = await trail.report("a.jsonl.gz", anchor=(24, whole.chain))
    assert (checked.broken, checked.in_files, checked.keyed_from) == (None, 12, 1)
    lines = gzip.decompress((trail.folder / "a.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(line).get("id") for line in lines] == [None, *range(1, 13), None]
    assert (trail.folder / "a.jsonl.gz").stat().st_mode & 0o777 == 0o600


async def test_what_guards_the_trail_is_as_it_was(trail: Trail) -> None:
    await trail.months(2)
    await trail.archive("a", 1)
    assert await trail.runner.view(broken_guard, metadata.tables.values()) is None
    with pytest.raises(Exception, match="history is final"):
        await owner.execute(trail.url, "DELETE FROM audit_events WHERE id = 8")
    if not trail.database.sqlite:  # the application's own role cannot do it
        archiver = TrailArchiver(trail.runner, SIGNER)
        with pytest.raises(DBAPIError):
            await archiver.archive(trail.folder / "b", trail.clock.now_us(), lambda *_: None)
        assert (await trail.report()).broken is None


async def test_archives_follow_each_other(trail: Trail) -> None:
    await trail.months(3)
    first = await trail.archive("a", 2)
    await trail.months(3)
    second = await trail.archive("b", 2)
    assert first is not None
    assert second is not None
    assert second.first == first.last + 1
    assert await trail.broken("b", "a") is None
    assert await trail.broken("b") is None  # what is before it is taken on trust
    assert await trail.broken("a") == (
        str(second.last),
        "no file given holds the last archived row",
    )
    assert await trail.archive("c", 5) is None
    assert not (trail.folder / "c").exists()
    with pytest.raises(InvalidArchive, match="is there already"):
        await trail.archive("a", 0)


async def test_an_anchor_of_what_is_archived_is_held_against_the_file(trail: Trail) -> None:
    await trail.months(1)
    old = await trail.report()
    await trail.months(2)
    done = await trail.archive("a", 1)
    assert done is not None
    anchor = old.number, old.chain
    assert await trail.broken("a", anchor=anchor) is None
    assert await trail.broken("a", anchor=(6, "0" * 64)) == (
        "6", "history differs from the anchor",
    )  # fmt: skip
    assert await trail.broken(anchor=anchor) == ("6", "it was archived: give its file")
    assert await trail.broken(anchor=(done.last, done.chain)) is None


async def test_a_beginning_that_was_taken_away_without_an_archive_is_missed(trail: Trail) -> None:
    """Nor can who has the database alone make it look like one, or take more than was archived."""
    await trail.months(3)

    async def found(*statements: str) -> tuple[str, str] | None:
        async with back_door(trail.url) as connection:
            for statement in statements:
                await connection.execute(text(statement))
            report = await verify_audit(View(connection, trail.clock.now_us()), signer=SIGNER)
        assert report.broken is not None
        return report.broken.key, report.broken.problem

    assert await found("DELETE FROM audit_events WHERE id <= 6") == ("1", "it is missing")
    ((chain,),) = await owner.rows(trail.url, "SELECT chain FROM audit_events WHERE id = 6")
    told = json.dumps({"last": 6, "chain": bytes(chain).hex()})
    forged = f"UPDATE audit_events SET action = 'audit.archive', detail = '{told}' WHERE id = {18}"
    assert await found("DELETE FROM audit_events WHERE id <= 6", forged) == (
        "18", "the hash does not fit the row",
    )  # fmt: skip
    await trail.archive("a", 2)
    assert await found("DELETE FROM audit_events WHERE id <= 8") == ("7", "it is missing")


def bent(path: Path, change: str) -> None:
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    match change:
        case "a row was changed":
            lines[2] = lines[2].replace('"system"', '"nobody"')
        case "a row is gone":
            del lines[2]
        case "the end is gone":
            del lines[-2:]
        case "it was cut off":
            path.write_bytes(path.read_bytes()[:-20])
            return
        case "it is another trail's":
            lines[0] = lines[0].replace('"first":1', '"first":3')
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("a row was changed", "the hash does not fit the row"),
        ("a row is gone", "it is missing"),
        ("the end is gone", "its end is missing"),
        ("it was cut off", "it cannot be read to its end"),
        ("it is another trail's", "it is missing"),
    ],
)
async def test_a_bent_archive_is_found(trail: Trail, change: str, problem: str) -> None:
    await trail.months(2)
    await trail.archive("a", 1)
    bent(trail.folder / "a", change)
    found = await trail.broken("a")
    assert found is not None
    assert found[1] == problem


async def test_an_archive_under_another_key_is_refused(trail: Trail) -> None:
    await trail.months(2)
    await trail.archive("a", 1)
    other = RingAuditSigner(b"o" * 32)
    found = await trail.runner.view(verify_audit, signer=other, archives=[trail.folder / "a"])
    assert found.broken is not None
    assert found.broken.key == "1"


async def test_nothing_is_removed_when_the_file_cannot_be_written_or_does_not_hold(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trail.months(2)
    with pytest.raises(InvalidArchive, match="No such file"):
        await trail.archive("nowhere/a", 1)
    with monkeypatch.context() as bending:
        bending.setattr(repository, "last_before", _one_too_many)
        with pytest.raises(InvalidArchive, match="rows are missing"):
            await trail.archive("a", 1)
    assert not (trail.folder / "a").exists()
    assert not (trail.folder / "a.partial").exists()
    assert await trail.numbers() == (1, 12)
    assert await trail.broken() is None


async def _one_too_many(_view: View, _instant: int) -> int:
    return 13


async def test_what_the_trail_tells_of_rows_is_carried_on_through_archives(trail: Trail) -> None:
    kept = await a_user(trail.runner, "a@guilder.example", email_verified=True)
    changed = await a_user(trail.runner, "b@guilder.example", email_verified=True)
    await trail.months(2)
    await trail.runner.run(change_access, ChangeAccess(changed.id, Role.READONLY, None), TELLER)
    await trail.months(2)
    await trail.runner.run(change_access, ChangeAccess(changed.id, Role.USER, None), TELLER)
    for name, months_ago in (("a.gz", 3), ("b.gz", 1), ("c.gz", 0)):
        assert await trail.archive(name, months_ago) is not None
        found = await trail.runner.view(verify_view, SIGNER)
        assert (found.broken, found.rows) == (None, 2)
    assert await trail.broken("a.gz", "b.gz", "c.gz") is None
    await owner.execute(
        trail.url, f"UPDATE identity_users SET role = 'admin' WHERE id = '{kept.id}'"
    )
    found = await trail.runner.view(verify_view, SIGNER)
    assert found.row is not None
    assert (found.row.key, found.row.problem) == (
        str(kept.id), "it is not as the audit trail has it",
    )  # fmt: skip
