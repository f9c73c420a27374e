"""Rows of the trail that arrive together are committed together, and each before its command."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from guilder.core.actor import Actor
from guilder.core.errors import Unavailable
from guilder.db.audit import AuditEntry, Phase, audit_events
from guilder.db.trail import Trail
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.audit.verify import verify_audit
from tests.db import owner
from tests.db.house import START, TELLER, House, Note, write_note
from tests.support.statements import statements


def entry(number: int, action: str = "test.note") -> AuditEntry:
    return AuditEntry(START, UUID(int=number), action, Phase.ATTEMPTED, TELLER)


def trail_of(house: House) -> Trail:
    return Trail(house.database, house.clock, None)


async def numbered(house: House) -> list[int]:
    """The attempts of the trail in its order; it holds."""
    assert (await house.runner.view(verify_audit)).broken is None
    return [row.attempt_id.int for row in await house.audit()]


async def test_rows_that_arrive_together_are_one_commit_and_one_chain(house: House) -> None:
    trail, commits = trail_of(house), list[int]()
    event.listen(house.database.writer.sync_engine, "commit", lambda _: commits.append(1))
    with statements(house.database) as said:
        await asyncio.gather(*[trail.tell(entry(number)) for number in range(20)])
    assert len([sql for sql, _ in said if "INSERT INTO audit_events" in sql]) == 1
    assert len(commits) == (1 if house.sqlite else 0)  # there the statement commits itself
    assert await numbered(house) == list(range(20))


async def test_those_that_come_while_one_is_written_are_the_next_commit(house: House) -> None:
    trail = trail_of(house)
    first = asyncio.create_task(trail.tell(entry(0)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with statements(house.database) as said:
        await asyncio.gather(first, *[trail.tell(entry(number)) for number in range(1, 9)])
    assert len([sql for sql, _ in said if "INSERT INTO audit_events" in sql]) <= 2
    assert await numbered(house) == list(range(9))


async def test_two_rows_of_one_caller_stand_behind_each_other(house: House) -> None:
    trail = trail_of(house)
    await asyncio.gather(*[trail.tell(entry(n), entry(n)) for n in range(5)], trail.tell())
    assert await numbered(house) == [number for number in range(5) for _ in range(2)]


async def test_a_row_that_the_database_refuses_does_not_take_its_neighbours_along(
    house: House,
) -> None:
    await owner.refuse_inserts(house.url, "audit_events", "NEW.action = 'bad'")
    trail = trail_of(house)
    told = [trail.tell(entry(n, "bad" if n == 2 else "good")) for n in range(5)]
    ended = await asyncio.gather(*told, return_exceptions=True)
    assert [type(one) for one in ended if one is not None] == [
        type(one) for one in ended if isinstance(one, DBAPIError)
    ]
    assert isinstance(ended[2], DBAPIError)
    assert await numbered(house) == [0, 1, 3, 4]


async def test_who_cannot_be_written_is_told_so_each_by_a_refusal_of_its_own(
    postgres_url: str,
) -> None:
    house = House(postgres_url)
    trail = trail_of(house)

    def away(*_: object) -> None:
        raise ConnectionRefusedError

    event.listen(house.database.writer.sync_engine, "checkout", away)
    ended = await asyncio.gather(*[trail.tell(entry(n)) for n in range(3)], return_exceptions=True)
    event.remove(house.database.writer.sync_engine, "checkout", away)
    assert [type(one) for one in ended] == [Unavailable] * 3
    assert len({id(one) for one in ended}) == 3
    assert await numbered(house) == []
    await house.database.close()


async def test_no_command_of_many_begins_before_its_attempt_is_committed(
    house: House, neighbour: House
) -> None:
    async def seen(view: View, actor: Actor) -> bool:
        mine = audit_events.c.request_id == actor.request_id
        return await view.first(audit_events.select().where(mine)) is not None

    async def handler(uow: UnitOfWork, cmd: Note) -> None:
        assert await neighbour.runner.view(seen, uow.actor)
        await write_note(uow, cmd)

    callers = [Actor(None, TELLER.role, request_id=f"r{n}") for n in range(12)]
    await asyncio.gather(*[house.runner.run(handler, Note("x"), one) for one in callers])
    assert len(await house.notes()) == 12
    assert len(await numbered(house)) == 24


async def test_one_of_many_attempts_that_cannot_be_audited_does_not_begin(house: House) -> None:
    await owner.refuse_inserts(house.url, "audit_events", "NEW.request_id = 'r3'")
    callers = [Actor(None, TELLER.role, request_id=f"r{n}") for n in range(6)]
    ended = await asyncio.gather(
        *[house.runner.run(write_note, Note(one.request_id), one) for one in callers],
        return_exceptions=True,
    )
    assert isinstance(ended[3], DBAPIError)
    assert sorted(await house.notes()) == ["r0", "r1", "r2", "r4", "r5"]


@pytest.mark.parametrize("rows", [1, 2, 33])
async def test_many_processes_write_one_chain(house: House, neighbour: House, rows: int) -> None:
    trails = [trail_of(house), trail_of(neighbour), trail_of(house)]
    for start in range(0, 4 * rows, rows):
        await asyncio.gather(
            *[one.tell(*[entry(start + k) for k in range(rows)]) for one in trails]
        )
    assert sorted(await numbered(house)) == sorted(list(range(4 * rows)) * 3)
