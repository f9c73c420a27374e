"""Rows from before the chain: kept, numbered anew, chained, and good again after a way back."""

from typing import Any
from uuid import UUID

import pytest
from alembic.script import ScriptDirectory

from guilder.db.migrate import config, downgrade, upgrade
from guilder.domains.audit.verify import verify_audit
from tests.db import owner
from tests.db.house import TELLER, House, Note, write_note

REVISION = "20261122_audit_chain"
COLUMNS = "id, at, attempt_id, action, phase, actor, subject, code, request_id, ip_address"


async def old_rows(url: str) -> list[tuple[Any, ...]]:
    """Seven rows with gaps between their numbers, as sequences leave them."""
    for number in (1, 2, 5, 6, 9, 12, 13):
        phase = ("attempted", "succeeded", "failed")[number % 3]
        subject = "NULL" if number % 2 else "'an ''id'' of ünïcode'"
        await owner.execute(
            url,
            f"INSERT INTO audit_events ({COLUMNS}) VALUES ({number}, {1000 - number}, "
            f"'{UUID(int=number)}', 'a.b', '{phase}', 'system', {subject}, NULL, 'r', '')",
        )
    return await content(url)


async def content(url: str) -> list[tuple[Any, ...]]:
    """Every row without its number, in order."""
    names = COLUMNS.removeprefix("id, ")
    return await owner.rows(url, f"SELECT {names} FROM audit_events ORDER BY id")


async def verified(url: str) -> int:
    house = House(url)
    report = await house.runner.view(verify_audit)
    await house.database.close()
    assert report.broken is None
    return report.number


@pytest.fixture
async def before(empty_url: str) -> str:
    """A database as it was before this migration."""
    found = ScriptDirectory.from_config(config()).get_revision(REVISION)
    assert found is not None
    assert isinstance(found.down_revision, str)
    await upgrade(empty_url, found.down_revision)
    return found.down_revision


async def test_rows_from_before_are_chained_in_their_order(
    empty_url: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = ScriptDirectory.from_config(config()).get_revision(REVISION)
    assert migration is not None
    monkeypatch.setattr(migration.module, "PAGE", 3)
    was = await old_rows(empty_url)
    await upgrade(empty_url)
    assert await verified(empty_url) == 7
    assert await content(empty_url) == was
    await write(empty_url)
    assert await verified(empty_url) == 9
    await downgrade(empty_url, before)
    assert (await content(empty_url))[:7] == was
    await owner.execute(
        empty_url,
        f"INSERT INTO audit_events ({COLUMNS.removeprefix('id, ')}) VALUES "
        f"(1, '{UUID(int=99)}', 'a.b', 'failed', 'system', NULL, 'x', 'r', '')",
    )
    await upgrade(empty_url)
    assert await verified(empty_url) == 10


async def test_a_trail_without_rows_begins_with_the_first(empty_url: str, before: str) -> None:
    await upgrade(empty_url)
    assert await verified(empty_url) == 0
    await downgrade(empty_url, before)
    await upgrade(empty_url)
    await write(empty_url)
    assert await verified(empty_url) == 2


async def test_history_is_final_before_and_after(empty_url: str, before: str) -> None:
    for revision in (None, "head", before):
        if revision == "head":
            await upgrade(empty_url)
        elif revision is not None:
            await downgrade(empty_url, revision)
        else:
            await old_rows(empty_url)
        for statement in ("UPDATE audit_events SET at = 1", "DELETE FROM audit_events"):
            with pytest.raises(Exception, match="history is final"):
                await owner.execute(empty_url, statement)


async def write(url: str) -> None:
    house = House(url)
    await house.runner.run(write_note, Note("x"), TELLER)
    await house.database.close()
