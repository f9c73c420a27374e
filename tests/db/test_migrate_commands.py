"""Migrations: equal to the models, reversible with data, safe to start from many processes."""

import asyncio
import sys
from typing import Any

import pytest
from alembic.script import ScriptDirectory

from guilder.core.actor import SYSTEM
from guilder.db.engine import is_sqlite, sqlite_path
from guilder.db.files import make_private_folder
from guilder.db.migrate import NewerDatabase, config, downgrade, upgrade
from guilder.domains.ledger.commands import EnsureBankAccounts, ensure_bank_accounts, post
from guilder.domains.ledger.rules.state import Posting, Unit
from guilder.tables import metadata
from tests.db import owner
from tests.db.house import START, TELLER, House, Note, created, key, write_note
from tests.db.schema import catalogue, differences, in_owner


async def test_autogenerate_finds_nothing_to_do_after_the_migrations(database_url: str) -> None:
    assert await in_owner(database_url, differences) == []


async def test_the_comparison_sees_a_planted_difference(database_url: str) -> None:
    await owner.execute(database_url, "ALTER TABLE outbox ADD COLUMN planted INTEGER")
    assert [found[0] for found in await in_owner(database_url, differences)] == ["remove_column"]


async def test_tables_made_from_the_models_are_those_of_the_migrations(empty_url: str) -> None:
    await in_owner(empty_url, metadata.create_all)
    from_models = await catalogue(empty_url)
    await in_owner(empty_url, metadata.drop_all)
    await upgrade(empty_url)
    assert len(from_models) > 20
    assert await catalogue(empty_url) == from_models


async def test_an_upgrade_tells_whether_anything_had_to_be_done(
    empty_url: str,
) -> None:
    assert await upgrade(empty_url) is True
    assert await upgrade(empty_url) is False


async def test_nothing_is_begun_where_that_is_forbidden_though_a_file_is_there(
    empty_url: str,
) -> None:
    def forbid() -> None:
        raise PermissionError("another bank is known")

    if is_sqlite(empty_url):
        make_private_folder(sqlite_path(empty_url).parent)
        sqlite_path(empty_url).touch()
    with pytest.raises(PermissionError, match="another bank is known"):
        await upgrade(empty_url, before_first=forbid)
    assert await upgrade(empty_url)
    assert not await upgrade(empty_url, before_first=forbid)  # there is a bank


async def write_some_of_everything(url: str) -> None:
    house = House(url)
    await house.runner.run_once(write_note, Note("x"), TELLER, key("a"), created)
    bank = await house.runner.run(ensure_bank_accounts, EnsureBankAccounts("USD", START), SYSTEM)

    async def deposit(uow: Any, _cmd: Note) -> None:
        posting = Posting(bank["settlement"], bank["equity"], 100, "USD", key=b"k" * 16)
        await post(uow, house.clock, [Unit([posting])])

    await house.runner.run(deposit, Note("x"), TELLER)
    await house.database.close()


async def test_upgrade_downgrade_upgrade_with_data(empty_url: str) -> None:
    await upgrade(empty_url)
    before = await catalogue(empty_url)
    await write_some_of_everything(empty_url)
    revisions = [*ScriptDirectory.from_config(config()).walk_revisions()]
    for revision in revisions:  # from the newest to the oldest, one step at a time
        assert (await owner.counts(empty_url, "ledger_transfers"))["ledger_transfers"] == 1
        await downgrade(empty_url, str(revision.down_revision or "base"))
        await upgrade(empty_url)
        assert await catalogue(empty_url) == before
    assert (await owner.counts(empty_url, "ledger_transfers", "outbox")) == {
        "ledger_transfers": 0, "outbox": 0,
    }  # fmt: skip
    await write_some_of_everything(empty_url)
    assert (await owner.counts(empty_url, "ledger_transfers"))["ledger_transfers"] == 1


async def test_a_downgrade_to_base_leaves_no_table(empty_url: str) -> None:
    await upgrade(empty_url)
    await write_some_of_everything(empty_url)
    await downgrade(empty_url, "base")
    assert await catalogue(empty_url) == {}


async def test_a_database_written_by_a_newer_version_is_refused(database_url: str) -> None:
    await owner.execute(database_url, "UPDATE alembic_version SET version_num = '20990101_future'")
    before = await catalogue(database_url)
    with pytest.raises(NewerDatabase, match="20990101_future"):
        await upgrade(database_url)
    assert await catalogue(database_url) == before


async def test_four_processes_may_start_at_once(empty_url: str) -> None:
    program = (
        "import asyncio, sys; from guilder.db.migrate import upgrade; "
        "print('ready', flush=True); sys.stdin.readline(); "
        "print(asyncio.run(upgrade(sys.argv[1])))"
    )
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, empty_url, stdin=pipe, stdout=pipe, stderr=pipe
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    ended = await asyncio.gather(*[process.communicate(b"go\n") for process in processes])
    assert [process.returncode for process in processes] == [0] * 4, ended
    assert sorted(out.strip() for out, _ in ended) == [b"False", b"False", b"False", b"True"]
    assert await in_owner(empty_url, differences) == []
    assert (await owner.counts(empty_url, "ledger_head"))["ledger_head"] == 1


async def test_a_first_process_that_fails_leaves_nothing_behind(
    empty_url: str,
) -> None:
    await in_owner(empty_url, lambda connection: metadata.tables["outbox"].create(connection))
    with pytest.raises(Exception, match="already exists"):
        await upgrade(empty_url)
    assert set(await catalogue(empty_url)) <= {"outbox", "pk_outbox", "pk_outbox.outbox"} | {
        f"outbox_{column.name}_not_null.outbox" for column in metadata.tables["outbox"].c
    }
