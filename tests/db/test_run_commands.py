"""The runner's promises: what is audited, what is committed, and what survives."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from guilder.core.errors import NotFound
from guilder.core.result import Err
from guilder.db.digests import NOTHING_CHANGED
from guilder.db.outbox import outbox
from guilder.db.run import Done
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.tables import metadata
from tests.db import owner
from tests.db.house import START, TELLER, House, Note, created, key, write_note
from tests.support.statements import statements


class Named:
    """A value with an id, as commands return it."""

    id = UUID("01999999-0000-7000-8000-00000000000a")


async def name_note(uow: UnitOfWork, cmd: Note) -> Named:
    await write_note(uow, cmd)
    return Named()


async def refuse_after_writing(uow: UnitOfWork, cmd: Note) -> str:
    await write_note(uow, cmd)
    raise NotFound(cmd.words)


async def refuse_and_keep(uow: UnitOfWork, cmd: Note) -> Err[NotFound]:
    await write_note(uow, cmd)
    return Err(NotFound(cmd.words))


async def crash_after_writing(uow: UnitOfWork, cmd: Note) -> str:
    await write_note(uow, cmd)
    raise ZeroDivisionError(cmd.words)


async def test_a_refused_command_leaves_a_failed_row_and_nothing_else(house: House) -> None:
    with pytest.raises(NotFound) as refused:
        await house.runner.run(refuse_after_writing, Note("No such thing."), TELLER)
    assert refused.value.detail == "No such thing."
    assert await house.phases() == [("attempted", None), ("failed", "not_found")]
    assert await house.notes() == []


async def test_what_a_returned_refusal_has_written_is_kept_and_told_as_failed(house: House) -> None:
    with pytest.raises(NotFound) as refused:
        await house.runner.refuse(refuse_and_keep, Note("No."), TELLER)
    assert refused.value.detail == "No."
    assert await house.phases() == [("attempted", None), ("failed", "not_found")]
    assert await house.notes() == ["No."]


async def test_what_is_pretended_is_the_same_work_and_leaves_nothing(house: House) -> None:
    before = await owner.counts(house.url, *sorted(metadata.tables))
    commits: list[int] = []
    engine = house.database.writer.sync_engine
    event.listen(engine, "commit", lambda _connection: commits.append(1))
    with statements(house.database) as pretended:
        await house.runner.pretend(write_note, Note("never"), TELLER)
    assert await owner.counts(house.url, *sorted(metadata.tables)) == before
    times = len(commits)
    with statements(house.database) as said:
        await house.runner.run(write_note, Note("hello"), TELLER)
    assert len(commits) == 2 * times > 0
    written = [sql for sql, _ in pretended if "UPDATE health_row" in sql]
    assert len(written) == 2  # for the attempt and the outcome: a commit of nothing takes no time
    assert [sql for sql, _ in said if "INSERT INTO outbox" in sql] == [
        sql for sql, _ in pretended if "INSERT INTO outbox" in sql
    ]
    assert await house.notes() == ["hello"]


async def test_what_is_pretended_raises_what_goes_wrong_and_leaves_nothing(house: House) -> None:
    with pytest.raises(ZeroDivisionError):
        await house.runner.pretend(crash_after_writing, Note("x"), TELLER)
    assert await house.phases() == []
    assert await house.notes() == []


async def test_a_command_that_is_to_refuse_and_does_not_is_a_fault(house: House) -> None:
    async def agree(uow: UnitOfWork, cmd: Note) -> Any:
        await write_note(uow, cmd)

    with pytest.raises(AssertionError, match="has done something"):
        await house.runner.refuse(agree, Note("x"), TELLER)


async def look(view: View) -> int:
    view.tell_read(replace(TELLER, user_id=Named.id), "note.read")
    return 1


async def test_a_read_that_is_told_says_that_it_has_changed_nothing(house: House) -> None:
    """Else the trail would count as one of before digests, and no row be held to it."""
    assert await house.runner.view(look) == 1
    told = [(row.action, row.phase, row.digests) for row in await house.audit()]
    assert told == [("note.read", "attempted", None), ("note.read", "succeeded", NOTHING_CHANGED)]


async def test_a_read_that_cannot_be_told_is_not_answered(house: House) -> None:
    await owner.refuse_inserts(house.url, "audit_events", "NEW.phase = 'succeeded'")
    with pytest.raises(DBAPIError, match="planted"):
        await house.runner.view(look)
    assert await house.phases() == []


async def test_a_crashed_command_leaves_a_failed_row_and_nothing_else(house: House) -> None:
    with pytest.raises(ZeroDivisionError):
        await house.runner.run(crash_after_writing, Note("secret words"), TELLER)
    assert await house.phases() == [("attempted", None), ("failed", "internal_error")]
    assert await house.notes() == []
    assert "secret words" not in str(await house.audit())


@pytest.mark.parametrize("handler", [refuse_after_writing, crash_after_writing])
async def test_an_error_is_raised_as_it_is_and_is_not_its_own_cause(
    house: House, handler: Callable[[UnitOfWork, Note], Awaitable[str]]
) -> None:
    with pytest.raises((NotFound, ZeroDivisionError)) as raised:
        await house.runner.run(handler, Note("No."), TELLER)
    assert raised.value.__cause__ is None


async def test_a_done_command_is_audited_with_who_what_and_when(house: House) -> None:
    await house.runner.run(name_note, Note("hello"), TELLER)
    attempted, succeeded = await house.audit()
    for row in (attempted, succeeded):
        assert (row.action, row.actor, row.at) == ("test.note", "system", START)
        assert (row.request_id, row.ip_address, row.code) == ("req-1", "192.0.2.7", None)
    assert (attempted.phase, succeeded.phase) == ("attempted", "succeeded")
    assert attempted.attempt_id == succeeded.attempt_id
    assert (attempted.subject, succeeded.subject) == (None, str(Named.id))


async def test_an_event_is_stored_with_its_change(house: House) -> None:
    assert (
        await house.runner.run(write_note, Note('"quoted" ünïcode'), TELLER) == '"quoted" ünïcode'
    )
    (row,) = await house.runner.view(lambda view: view.all(outbox.select()))
    assert (row.stream, row.type, row.created_at) == ("test", "test.noted", START)
    assert json.loads(row.payload) == {"words": '"quoted" ünïcode'}


async def test_each_attempt_has_an_id_of_its_own(house: House) -> None:
    for words in ("one", "two"):
        await house.runner.run(write_note, Note(words), TELLER)
    attempts = [row.attempt_id for row in await house.audit()]
    assert attempts[0] == attempts[1] != attempts[2] == attempts[3]


async def test_a_command_does_not_begin_when_its_attempt_cannot_be_audited(house: House) -> None:
    await owner.refuse_inserts(house.url, "audit_events", "NEW.phase = 'attempted'")
    began = []

    async def handler(uow: UnitOfWork, cmd: Note) -> None:
        began.append(cmd)

    with pytest.raises(DBAPIError, match="planted"):
        await house.runner.run(handler, Note("x"), TELLER)
    assert began == []


async def test_a_command_fails_loudly_when_its_success_cannot_be_audited(house: House) -> None:
    await owner.refuse_inserts(house.url, "audit_events", "NEW.phase = 'succeeded'")
    with pytest.raises(DBAPIError, match="planted"):
        await house.runner.run_once(write_note, Note("x"), TELLER, key("a"), created)
    assert await house.notes() == []
    assert await house.kept_keys() == 0
    assert await house.phases() == [("attempted", None), ("failed", "internal_error")]


async def test_a_refusal_whose_audit_cannot_be_written_is_no_quiet_refusal(house: House) -> None:
    await owner.refuse_inserts(house.url, "audit_events", "NEW.phase = 'failed'")
    with pytest.raises(DBAPIError, match="planted"):
        await house.runner.run(refuse_after_writing, Note("No."), TELLER)
    assert await house.phases() == [("attempted", None)]


async def test_a_view_reads_one_snapshot(house: House, neighbour: House) -> None:
    await house.runner.run(write_note, Note("before"), TELLER)

    async with house.database.view() as connection:
        first = (await connection.execute(outbox.select())).all()
        await neighbour.runner.run(write_note, Note("after"), TELLER)
        second = (await connection.execute(outbox.select())).all()
    assert (len(first), len(second), await house.notes()) == (1, 1, ["before", "after"])


async def test_the_first_run_under_a_key_is_done_now(house: House) -> None:
    outcome = await house.runner.run_once(write_note, Note("x"), TELLER, key("a"), created)
    assert outcome == Done("x", created("x"))
