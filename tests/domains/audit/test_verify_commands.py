"""Whatever is done to the audit trail behind the bank's back, ``verify`` names the row."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.core.clock import MINUTE_US
from guilder.core.errors import NotFound
from guilder.db.audit import AuditEntry, Phase, append, audit_chain_hash, audit_events, content
from guilder.db.engine import is_sqlite
from guilder.db.migrate import migration_engine
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.audit import repository
from guilder.domains.audit.verify import MAX_LISTED_ATTEMPTS, AuditReport, verify_audit
from tests.db.house import START, TELLER, House, Note, write_note
from tests.domains.audit.back_door import back_door

ACTOR = replace(TELLER, session_id=UUID(int=7))
ROWS = 6
LATER = START + MINUTE_US + 1
TAMPERED = {
    "at": "at + 1",
    "attempt_id": "'00000000-0000-0000-0000-000000000001'",
    "action": "action || 'x'",
    "phase": "CASE phase WHEN 'failed' THEN 'succeeded' ELSE 'failed' END",
    "actor": "'anonymous'",
    "session_id": "'00000000-0000-0000-0000-000000000001'",
    "subject": "coalesce(subject, '') || 'x'",
    "code": "coalesce(code, '') || 'x'",
    "request_id": "request_id || ' '",
    "ip_address": "'192.0.2.8'",
    "detail": "coalesce(detail, '{}') || ' '",
    "chain": "(SELECT chain FROM audit_head)",
    "key_id": "(SELECT chain FROM audit_head)",
    "digests": "coalesce(digests, '') || ' '",
}
NULLABLE = ("session_id", "subject", "code", "detail")


async def tell(uow: UnitOfWork, cmd: Note) -> None:
    uow.audit(UUID(int=8), words=cmd.words)
    if cmd.words == "no":
        raise NotFound()


@pytest.fixture
async def trail(database_url: str) -> str:
    """Six rows of which every column is filled in some and empty in others, where it may be."""
    return await written(database_url)


async def written(url: str) -> str:
    house = House(url)
    await house.runner.run(write_note, Note("plain"), TELLER)
    with pytest.raises(NotFound):
        await house.runner.run(tell, Note("no"), ACTOR)
    await house.runner.run(tell, Note("yes"), ACTOR)
    await house.database.close()
    return url


async def still_the_head(url: str, connection: AsyncConnection) -> None:
    """On SQLite a trigger moves the head on, whoever inserts."""
    if is_sqlite(url):
        await connection.execute(text("DROP TRIGGER audit_events_moves_head"))


async def report_after(
    url: str, *statements: str, anchor: tuple[int, str] | None = None
) -> AuditReport:
    """What ``verify`` says when these have been done."""
    async with back_door(url) as connection:
        for statement in statements:
            changed = await connection.execute(text(statement))
            assert changed.rowcount > 0, statement
        return await verify_audit(View(connection, LATER), anchor=anchor)


async def found(url: str, *statements: str) -> tuple[str, str]:
    """Table and key of what ``verify`` names when these have been done."""
    broken = (await report_after(url, *statements)).broken
    assert broken is not None, f"not found: {statements}"
    assert broken.problem
    return broken.table, broken.key


async def test_every_column_of_every_row_is_held(trail: str) -> None:
    columns = set(audit_events.c.keys()) - {"id"}
    assert columns == TAMPERED.keys()
    tried = 0
    for row in range(1, ROWS + 1):
        for column, value in TAMPERED.items():
            own = column == "chain" and row == ROWS
            bent = "(SELECT chain FROM audit_events WHERE id = 1)" if own else value
            change = f"UPDATE audit_events SET {column} = {bent} WHERE id = {row}"
            assert await found(trail, change) == ("audit_events", str(row)), change
            tried += 1
        assert await found(trail, f"UPDATE audit_events SET id = 100 WHERE id = {row}") == (
            "audit_events", str(row),
        )  # fmt: skip
    assert tried == ROWS * len(TAMPERED)


async def test_what_is_emptied_is_found(trail: str) -> None:
    for column in NULLABLE:
        change = f"UPDATE audit_events SET {column} = NULL WHERE id = 4 AND {column} IS NOT NULL"
        assert await found(trail, change) == ("audit_events", "4")


async def test_an_id_that_is_bent_and_not_replaced_is_found(sqlite_url: str) -> None:
    """On PostgreSQL an id has one form."""
    trail = await written(sqlite_url)
    for bent in ("upper(attempt_id)", "attempt_id || ' '", "'none'"):
        change = f"UPDATE audit_events SET attempt_id = {bent} WHERE id = 3"
        assert await found(trail, change) == ("audit_events", "3")


@pytest.mark.parametrize("row", range(1, ROWS + 1))
async def test_a_row_that_was_taken_out_is_named(trail: str, row: int) -> None:
    assert await found(trail, f"DELETE FROM audit_events WHERE id = {row}") == (
        "audit_events", str(row),
    )  # fmt: skip


async def test_a_row_that_was_taken_out_and_closed_up_is_named(trail: str) -> None:
    shift = [f"UPDATE audit_events SET id = {n - 1} WHERE id = {n}" for n in (4, 5, 6)]
    cut = "UPDATE audit_head SET last_id = 5"
    assert await found(trail, "DELETE FROM audit_events WHERE id = 3", *shift, cut) == (
        "audit_events", "3",
    )  # fmt: skip


async def test_rows_that_were_swapped_are_named(trail: str) -> None:
    moves = [(2, 100), (3, 2), (100, 3)]
    swap = [f"UPDATE audit_events SET id = {to} WHERE id = {at}" for at, to in moves]
    assert await found(trail, *swap) == ("audit_events", "2")


async def test_a_row_that_was_put_in_is_named(trail: str) -> None:
    names = ", ".join(column.name for column in audit_events.c if column.name != "id")
    copy = f"INSERT INTO audit_events (id, {names}) SELECT {{}}, {names} FROM audit_events"
    assert await found(trail, copy.format(7) + " WHERE id = 6") == ("audit_events", "7")
    assert await found(trail, copy.format(0) + " WHERE id = 1") == ("audit_events", "0")
    async with back_door(trail) as connection:  # with the right hash, past the head
        await still_the_head(trail, connection)
        rows = (await connection.execute(audit_events.select().order_by("id"))).all()
        last = rows[-1]._asdict()
        chain = audit_chain_hash(last["chain"], 7, content(last))
        await connection.execute(audit_events.insert(), last | {"id": 7, "chain": chain})
        report = await verify_audit(View(connection, LATER))
    assert report.broken is not None
    assert (report.broken.table, report.broken.key) == ("audit_events", "7")


@pytest.mark.parametrize("left", [0, 1, 5])
async def test_a_tail_that_was_cut_off_is_told_by_the_head(trail: str, left: int) -> None:
    cut = f"DELETE FROM audit_events WHERE id > {left}"
    assert await found(trail, cut) == ("audit_events", str(left + 1))


async def test_a_head_that_does_not_fit_is_found(trail: str) -> None:
    assert await found(trail, "DELETE FROM audit_head") == ("audit_head", "0")
    assert await found(trail, "UPDATE audit_head SET last_id = 7") == ("audit_events", "7")
    assert await found(trail, "UPDATE audit_head SET last_id = 5") == ("audit_events", "6")
    other = "UPDATE audit_head SET chain = (SELECT chain FROM audit_events WHERE id = 1)"
    assert await found(trail, other) == ("audit_head", "0")


async def test_an_anchor_finds_a_trail_that_was_rewritten_as_a_whole(trail: str) -> None:
    async with back_door(trail) as connection:
        before = await verify_audit(View(connection, LATER))
        anchor = before.number, before.chain.upper()
        assert (await verify_audit(View(connection, LATER), anchor=anchor)).broken is None
        await connection.execute(text("DELETE FROM audit_events WHERE id > 4"))
        await connection.execute(
            text("UPDATE audit_head SET last_id = 4, chain = (SELECT chain FROM audit_events"
                 " WHERE id = 4)")
        )  # fmt: skip
        assert (await verify_audit(View(connection, LATER))).broken is None
        cut = await verify_audit(View(connection, LATER), anchor=anchor)
        for number in (5, 6, 7):
            entry = AuditEntry(START, UUID(int=number), "a.b", Phase.ATTEMPTED, TELLER)
            await append(connection, [entry])
        forged = await verify_audit(View(connection, LATER), anchor=anchor)
    assert cut.broken is not None
    assert (cut.broken.key, "missing" in cut.broken.problem) == ("6", True)
    assert forged.broken is not None
    assert (forged.broken.key, "anchor" in forged.broken.problem) == ("6", True)


async def test_a_sound_trail_gives_its_anchor(trail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in (5_000, 4, 3, 1):  # a page may end with the last row or before it
        monkeypatch.setattr(repository, "EVENTS_PER_PAGE", page)
        seen: list[tuple[str, int]] = []
        async with back_door(trail) as connection:
            view = View(connection, LATER)
            report = await verify_audit(view, progress=lambda *told, seen=seen: seen.append(told))
        assert (report.broken, report.number, len(report.chain)) == (None, ROWS, 64)
        assert (report.open_attempts, report.open) == (0, [])
        assert seen[-1] == ("audit events", ROWS)
        assert len(seen) == -(-ROWS // page)


async def test_attempts_without_an_outcome_are_told_when_they_are_a_minute_old(
    trail: str,
) -> None:
    async with back_door(trail) as connection:
        for number in range(30):
            at = START + number
            await append(
                connection, [AuditEntry(at, UUID(int=number), "a.b", Phase.ATTEMPTED, TELLER)]
            )
        reports = [
            await verify_audit(View(connection, START + MINUTE_US + late)) for late in (0, 1, 30)
        ]
    assert [report.open_attempts for report in reports] == [0, 1, 30]
    assert [report.broken for report in reports] == [None] * 3
    named = [attempt.number for attempt in reports[2].open]
    assert named == list(range(ROWS + 30, ROWS + 30 - MAX_LISTED_ATTEMPTS, -1))
    assert reports[1].open[0].at == "2026-09-21T14:13:20.000000Z"


async def test_the_trail_is_final_for_the_application_and_for_the_owner(trail: str) -> None:
    house = House(trail)
    engine = migration_engine(trail)
    for statement in ("UPDATE audit_events SET at = 1", "DELETE FROM audit_events"):
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError, match="history is final"):
                await connection.execute(text(statement))
        with pytest.raises(DBAPIError, match=r"history is final|permission denied"):
            async with house.database.begin() as connection:
                await connection.execute(text(statement))
    await engine.dispose()
    if not is_sqlite(trail):
        for statement in ("DELETE FROM audit_head", "UPDATE audit_head SET lane = 0"):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with house.database.begin() as connection:
                    await connection.execute(text(statement))
    await house.database.close()
