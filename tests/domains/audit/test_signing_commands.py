"""The trail is keyed: whoever has the database, and not the key, cannot make a row of it."""

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from guilder.bootstrap import audit_signer, migrate_bank, open_bank, open_keys
from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock, SystemClock
from guilder.core.ports import AuditSigner
from guilder.db.audit import AuditEntry, Phase, append, audit_chain_hash, audit_events, content
from guilder.db.engine import Database
from guilder.db.migrate import downgrade
from guilder.db.run import Runner
from guilder.db.unit_of_work import View
from guilder.domains.audit.commands import BeginSigning, begin_signing
from guilder.domains.audit.verify import AuditReport, verify_audit
from guilder.infra.process.settings import Settings
from guilder.infra.security.keys import ring_of
from guilder.infra.security.signing import RingAuditSigner, TrailKey
from guilder.verification import verify_database
from tests.db.house import START, TELLER, Note, write_note
from tests.domains.audit.back_door import back_door
from tests.support.older_trails import forget_digests

KEY, OTHER = b"k" * 32, b"o" * 32
SIGNER = RingAuditSigner(KEY)


async def write(url: str, signer: AuditSigner | None, times: int = 2) -> None:
    """Two rows each time."""
    database = Database(url)
    for _ in range(times):
        await Runner(database, FixedClock(START), signer=signer).run(write_note, Note("x"), TELLER)
    await database.close()


async def begin(url: str) -> None:
    """What an upgrade does; two rows."""
    database = Database(url)
    runner = Runner(database, FixedClock(START), signer=SIGNER)
    await runner.run(begin_signing, BeginSigning(), SYSTEM)
    await database.close()


async def report(url: str, signer: AuditSigner | None = SIGNER) -> AuditReport:
    database = Database(url)
    found = await Runner(database, FixedClock(START)).view(verify_audit, signer=signer)
    await database.close()
    return found


def problem(found: AuditReport) -> tuple[str, str]:
    assert found.broken is not None
    return found.broken.key, found.broken.problem


async def rehashed(connection: AsyncConnection, signer: AuditSigner | None = None) -> None:
    """Every row's hash made anew as somebody without the key can, and the head with it."""
    chain = bytes(32)
    for row in (await connection.execute(audit_events.select().order_by("id"))).mappings().all():
        told = content(dict(row))
        mac = b"" if signer is None or row["key_id"] is None else signer.sign(told)[1]
        chain = audit_chain_hash(chain, row["id"], told + mac)
        await connection.execute(
            audit_events.update().where(audit_events.c.id == row["id"]).values(chain=chain)
        )
    await connection.execute(text("UPDATE audit_head SET chain = :c"), {"c": chain})


async def test_every_row_that_the_bank_writes_is_signed(database_url: str) -> None:
    await write(database_url, SIGNER)
    found = await report(database_url)
    assert (found.broken, found.number, found.keyed_from) == (None, 4, 1)
    assert problem(await report(database_url, RingAuditSigner(OTHER)))[0] == "1"


async def test_a_row_appended_without_the_key_is_found(database_url: str) -> None:
    await write(database_url, SIGNER)
    entry = AuditEntry(START, UUID(int=1), "user.update", Phase.SUCCEEDED, TELLER)
    async with back_door(database_url) as connection:
        await append(connection, [entry])
        bare = await verify_audit(View(connection, START), signer=SIGNER)
        await connection.execute(
            text("UPDATE audit_events SET key_id = (SELECT key_id FROM audit_events WHERE id = 1)"
                 " WHERE id = 5")
        )  # fmt: skip
        named = await verify_audit(View(connection, START), signer=SIGNER)
    assert problem(bare) == ("5", "it carries no key, and rows before it do")
    assert problem(named) == ("5", "the hash does not fit the row")


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE audit_events SET actor = 'anonymous' WHERE id = 2"],
        ["DELETE FROM audit_events WHERE id = 1", "UPDATE audit_events SET id = 1 WHERE id = 2",
         "UPDATE audit_events SET id = 2 WHERE id = 3", "UPDATE audit_events SET id = 3 WHERE"
         " id = 4", "UPDATE audit_head SET last_id = 3"],
        ["UPDATE audit_events SET key_id = NULL"],
        ["UPDATE audit_events SET id = 9 WHERE id = 2", "UPDATE audit_events SET id = 2 WHERE"
         " id = 3", "UPDATE audit_events SET id = 3 WHERE id = 9"],
    ],
)  # fmt: skip
async def test_a_trail_rewritten_with_all_its_hashes_is_found_without_an_anchor(
    database_url: str, statements: list[str]
) -> None:
    await write(database_url, SIGNER)
    async with back_door(database_url) as connection:
        for statement in statements:
            await connection.execute(text(statement))
        await rehashed(connection)
        assert (await verify_audit(View(connection, START), signer=SIGNER)).broken is not None


async def test_rows_from_before_the_keys_hold_and_none_may_follow_them(database_url: str) -> None:
    await write(database_url, None)
    assert problem(await report(database_url)) == ("1", "no row carries a key")
    await begin(database_url)
    found = await report(database_url)
    assert (found.broken, found.keyed_from) == (None, 5)
    await write(database_url, SIGNER)
    assert (await report(database_url)).broken is None
    await write(database_url, None)
    assert problem(await report(database_url))[0] == "11"


async def test_a_trail_whose_keys_were_taken_is_found_also_after_the_next_row(
    database_url: str,
) -> None:
    await write(database_url, SIGNER)
    async with back_door(database_url) as connection:
        await connection.execute(text("UPDATE audit_events SET key_id = NULL, actor = 'system'"))
        await rehashed(connection)
        entry = AuditEntry(START, UUID(int=1), "user.update", Phase.SUCCEEDED, TELLER)
        await append(connection, [entry], SIGNER)
        found = await verify_audit(View(connection, START), signer=SIGNER)
    assert problem(found) == (
        "5", "rows before it carry no key, and it does not begin with them",
    )  # fmt: skip


async def test_keys_are_renewed_and_a_missing_one_is_named_unless_it_is_lost(
    database_url: str,
) -> None:
    await write(database_url, RingAuditSigner(OTHER))
    both = RingAuditSigner(ring_of((KEY, OTHER)))
    await write(database_url, both)
    assert (await report(database_url, both)).broken is None
    name = TrailKey(OTHER).id.hex()
    assert problem(await report(database_url)) == (
        "1", f"it names the key {name}, which is not there",
    )  # fmt: skip
    found = await report(database_url, RingAuditSigner(KEY, [name]))
    assert (found.broken, found.under_lost_keys) == (None, 4)


async def test_an_upgraded_bank_signs_from_now_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(database_url, None)
    await forget_digests(database_url)
    await downgrade(database_url, "20261128_what_never_changes")
    monkeypatch.setenv("GUILDER_DATABASE_URL", database_url)
    monkeypatch.setenv("GUILDER_DATA_DIR", str(tmp_path / "kept"))
    settings = Settings()
    assert await migrate_bank(settings) is True
    signer = audit_signer(settings, open_keys(settings, SystemClock()))
    found = await verify_database(database_url, lambda: signer)
    assert (found.broken, found.audit.keyed_from, found.audit.number) == (None, 5, 8)
    assert "Rows before 5 carry no key: only an anchor proves them." in list(found.lines())
    async with open_bank(settings) as bank:
        await bank.runner.run(write_note, Note("x"), TELLER)
    assert (await verify_database(database_url, lambda: signer)).broken is None
