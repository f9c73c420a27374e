"""The audit trail as a chain: what a row holds, and what many writers at once make of it."""

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from guilder.core.clock import FixedClock
from guilder.core.errors import NotFound
from guilder.core.permissions import Role
from guilder.db.audit import change_details
from guilder.db.engine import RetryTransaction
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.audit.verify import verify_audit
from guilder.domains.ledger.commands import lock_head
from tests.db import owner
from tests.db.house import START, TELLER, House, Note, created, key, write_note
from tests.support.waiting import LONG

SESSION = UUID("01999999-0000-7000-8000-00000000000b")
USER = UUID("01999999-0000-7000-8000-00000000000c")


async def tell_and_write(uow: UnitOfWork, cmd: Note) -> str:
    uow.audit(USER, words=cmd.words, role=Role.ADMIN)
    return await write_note(uow, cmd)


async def tell_and_refuse(uow: UnitOfWork, cmd: Note) -> str:
    await tell_and_write(uow, cmd)
    raise NotFound()


async def holds(house: House) -> int:
    """The number of rows of a trail that holds."""
    report = await house.runner.view(verify_audit)
    assert report.broken is None, report.broken
    return report.number


async def test_each_row_is_chained_to_the_one_before_in_a_form_that_never_changes(
    house: House,
) -> None:
    actor = replace(TELLER, session_id=SESSION)
    await house.runner.run(tell_and_write, Note('"é"'), actor)
    chain = bytes(32)
    for number, row in enumerate(await house.audit(), 1):
        outcome = row.phase == "succeeded"
        detail = '{"role":"admin","words":"\\"\\u00e9\\""}' if outcome else None
        assert row.detail == detail
        values = [
            START, str(row.attempt_id), "test.note", row.phase, "system", str(SESSION),
            str(USER) if outcome else None, None, "req-1", "192.0.2.7", detail,
        ]  # fmt: skip
        assert row.digests == ("{}" if outcome else None)
        values += ["{}"] if outcome else []
        content = json.dumps(values, separators=(",", ":")).encode()
        chain = hashlib.sha256(chain + number.to_bytes(8, "big") + content).digest()
        assert (row.id, row.chain, row.session_id) == (number, chain, SESSION)
    assert await owner.rows(house.url, "SELECT lane, last_id, chain FROM audit_head") == [
        (0, 2, chain)
    ]


async def test_a_refused_command_is_told_of_with_its_subject_and_detail(house: House) -> None:
    with pytest.raises(NotFound):
        await house.runner.run(tell_and_refuse, Note("x"), TELLER)
    attempted, failed = await house.audit()
    assert (attempted.subject, attempted.detail) == (None, None)
    assert (failed.phase, failed.code, failed.subject) == ("failed", "not_found", str(USER))
    assert json.loads(failed.detail) == {"words": "x", "role": "admin"}
    assert await house.notes() == []


async def test_a_command_that_runs_again_tells_only_of_its_last_run(house: House) -> None:
    runs: list[int] = []

    async def handler(uow: UnitOfWork, _cmd: Note) -> None:
        runs.append(len(runs))
        uow.audit(**{f"run_{len(runs)}": True})
        if len(runs) == 1:
            raise RetryTransaction("once more")

    await house.runner.run(handler, Note("x"), TELLER)
    assert json.loads((await house.audit())[-1].detail) == {"run_2": True}


async def test_a_replayed_answer_is_told_as_such(house: House) -> None:
    for _ in range(2):
        await house.runner.run_once(write_note, Note("x"), TELLER, key("a"), created)
    details = [row.detail for row in await house.audit() if row.phase == "succeeded"]
    assert details == [None, '{"replayed":true}']


async def test_what_is_no_json_is_refused_and_the_failure_is_audited(house: House) -> None:
    async def handler(uow: UnitOfWork, _cmd: Note) -> None:
        uow.audit(USER, key=b"bytes")

    with pytest.raises(TypeError, match="bytes cannot stand in the audit trail"):
        await house.runner.run(handler, Note("x"), TELLER)
    failed = (await house.audit())[-1]
    assert (failed.phase, failed.subject, failed.detail) == ("failed", None, None)


async def test_no_command_begins_without_the_head(house: House) -> None:
    await owner.execute(house.url, "DELETE FROM audit_head")
    with pytest.raises(Exception, match=r"No row was found|audit_head has no row"):
        await house.runner.run(write_note, Note("x"), TELLER)
    assert (await house.audit(), await house.notes()) == ([], [])


def test_a_change_names_the_fields_and_shows_only_what_may_be_shown() -> None:
    before = {"id": USER, "role": "user", "email": "a@b.test", "age": 7}
    detail = change_details(before, before | {"role": "admin", "email": "c@d.test"}, show={"role"})
    assert detail["changed"] == {"role": ["user", "admin"], "email": None}
    plain = json.dumps(before | {"id": str(USER)}, sort_keys=True, separators=(",", ":"))
    assert detail["hash_before"] == hashlib.sha256(plain.encode()).hexdigest()
    assert detail["hash_after"] != detail["hash_before"]
    assert ".test" not in str(detail)


async def test_sixteen_commands_at_once_in_two_processes_give_one_chain(
    house: House, neighbour: House
) -> None:
    async def often(runner: Runner, name: str, handler: Any) -> None:
        for number in range(5):
            try:
                await runner.run(handler, Note(f"{name}.{number}"), TELLER)
            except NotFound:
                assert handler is tell_and_refuse

    async def with_the_books(uow: UnitOfWork, cmd: Note) -> str:
        await lock_head(uow)
        return await tell_and_write(uow, cmd)

    handlers = [write_note, tell_and_refuse, tell_and_write, with_the_books]
    await asyncio.gather(
        *[often([house, neighbour][n % 2].runner, f"n{n}", handlers[n // 2 % 4]) for n in range(16)]
    )
    assert await holds(house) == 160
    outcomes = [row.phase for row in await house.audit() if row.phase != "attempted"]
    assert (outcomes.count("succeeded"), outcomes.count("failed")) == (60, 20)
    assert len(await house.notes()) == 60


async def test_a_command_at_work_does_not_keep_another_from_its_audit(postgres_url: str) -> None:
    """SQLite has one writer at a time, whatever it writes."""
    house = House(postgres_url)
    inside, leave = asyncio.Event(), asyncio.Event()

    async def slow(uow: UnitOfWork, cmd: Note) -> None:
        await write_note(uow, cmd)
        inside.set()
        await leave.wait()

    task = asyncio.create_task(house.runner.run(slow, Note("slow"), TELLER))
    await inside.wait()
    async with asyncio.timeout(LONG):
        await house.runner.run(write_note, Note("quick"), TELLER)
    leave.set()
    await task
    assert await house.phases() == [
        ("attempted", None), ("attempted", None), ("succeeded", None), ("succeeded", None),
    ]  # fmt: skip
    assert await holds(house) == 4
    await house.database.close()


async def test_a_clock_that_goes_back_breaks_nothing(house: House) -> None:
    earlier = Runner(house.database, FixedClock(START - 10**9))
    await house.runner.run(write_note, Note("x"), TELLER)
    await earlier.run(write_note, Note("y"), TELLER)
    assert await holds(house) == 4
