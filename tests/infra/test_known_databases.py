"""A data folder that knows a bank: no other begins because an address was mistyped."""

import asyncio
from pathlib import Path

import pytest

from guilder.bootstrap import migrate_bank
from guilder.infra.process.known_databases import FILE, BankMissing, KnownDatabases
from guilder.infra.process.settings import Settings

pytestmark = pytest.mark.integration


def test_a_wrong_address_does_not_begin_an_empty_bank_beside_the_one_that_is_known(
    tmp_path: Path,
) -> None:
    data, away = tmp_path / "data", tmp_path / "gone" / "x.db"
    data.mkdir()
    (data / FILE).write_text("guilder.db\n")
    values = {"env": "test", "data_dir": data, "database_url": f"sqlite:///{away}"}
    settings = Settings.model_validate(values)
    with pytest.raises(BankMissing) as refused:
        asyncio.run(migrate_bank(settings))
    assert f"no bank at {away}, but {data / FILE} says that there is one at guilder.db" in str(
        refused.value
    )
    assert "GUILDER_DATABASE_URL" in str(refused.value)
    assert not away.parent.exists()


@pytest.mark.parametrize("sign", ["databases", "keys", "guilder.db-wal"])
async def test_what_is_left_of_a_bank_keeps_an_empty_one_from_its_place(
    tmp_path: Path, sign: str
) -> None:
    settings = Settings.model_validate({"env": "test", "data_dir": tmp_path})
    if sign == "keys":
        (tmp_path / sign).mkdir()
        (tmp_path / sign / "one").write_text("x")
    elif sign == "databases":
        assert await migrate_bank(settings)
        for path in tmp_path.glob("guilder.db*"):
            path.unlink()
    else:
        (tmp_path / sign).touch()
    with pytest.raises(BankMissing) as refused:
        await migrate_bank(settings)
    assert str(tmp_path / sign) in str(refused.value)
    assert not (tmp_path / "guilder.db").exists()
    assert await migrate_bank(settings, new=True)


def test_a_database_that_is_another_on_the_server_is_not_begun_either(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("postgresql://db/bank\n")
    with pytest.raises(BankMissing, match="there is one at postgresql://db/bank"):
        KnownDatabases(tmp_path, "postgresql://db/bnak").refuse_if_known()
    KnownDatabases(tmp_path / "first", "postgresql://db/bank").refuse_if_known()
