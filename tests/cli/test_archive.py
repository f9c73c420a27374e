"""``guilder audit archive``: what is older than seven years goes into a file; ``verify`` knows."""

import asyncio
import json
from pathlib import Path

import pytest

from guilder.bootstrap import Bank, audit_signer, open_bank
from guilder.core.clock import DAY_US, FixedClock, SystemClock
from guilder.db.run import Runner
from guilder.infra.process.settings import Settings
from tests.cli.test_cli_commands import elsewhere, guilder, log_as_before
from tests.db.house import TELLER, Note, write_note

__all__ = ["elsewhere", "log_as_before"]


async def old_rows(bank: Bank) -> None:
    """Six rows of eight years ago."""
    long_ago = FixedClock(SystemClock().now_us() - 8 * 366 * DAY_US)
    signer = audit_signer(bank.settings, bank.keys)
    runner = Runner(bank.database, long_ago, signer=signer)
    for _ in range(3):
        await runner.run(write_note, Note("x"), TELLER)


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GUILDER_DATABASE_URL", database_url)

    async def run() -> None:
        async with open_bank(Settings()) as bank:
            await old_rows(bank)

    asyncio.run(run())
    return database_url


def test_an_old_part_is_archived_and_the_trail_is_checked_with_its_file(
    database: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "old.jsonl.gz")
    assert guilder("audit", "archive", file, "--before", "1999-01-01").stdout.startswith("Nothing")
    said = guilder("audit", "archive", file).stdout
    assert said.startswith(f"Rows 1 to 6 of the audit trail are in {file} now.\nSHA-256: ")
    anchor = said.split("Audit anchor: ")[1].strip()
    told = guilder("verify").stdout
    assert "Rows up to 6 are in archives, not checked." in told
    found = guilder("verify", "--archive", file, "--audit-anchor", anchor, "--json")
    report = json.loads(found.stdout)
    assert (found.exit_code, report["holds"]) == (0, True)
    assert (report["audit"]["archived"], report["audit"]["in_files"]) == (6, 6)
    assert guilder("audit", "archive", file).stdout.startswith("Nothing is older than ")


def test_a_file_that_is_there_is_never_written_over(database: str, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl.gz"
    file.write_text("precious")
    refused = guilder("audit", "archive", str(file), status=1)
    assert "is there already" in refused.stderr
    assert file.read_text() == "precious"
    assert "cannot be read" in guilder("verify", "--archive", str(file), status=1).stdout
    gone = guilder("verify", "--archive", str(tmp_path / "gone"), status=1)
    assert "No such file" in gone.stdout
