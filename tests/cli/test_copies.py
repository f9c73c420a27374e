"""Copies of a bank: the how-to works as written, and ``verify`` tells one from an empty one."""

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.serving import environment, guilder, run, serving
from tests.db import owner
from tests.support.constants import ADA
from tests.support.waiting import LONG

pytestmark = pytest.mark.integration
HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "copy.md"


def written_command() -> list[str]:
    """The command of the how-to, with its two files left out."""
    (line,) = [line for line in HOW_TO.read_text().splitlines() if "VACUUM INTO" in line]
    words = shlex.split(line)
    assert words[0] == ".venv/bin/python"
    return [sys.executable, *words[1:-2]]


@pytest.mark.heavy
def test_the_how_to_copies_a_running_bank_and_a_plain_copy_is_said_to_be_empty(
    tmp_path: Path,
) -> None:
    values = environment("", tmp_path)
    with serving(tmp_path, values) as running:
        assert httpx.post(f"{running.base}/auth/signup", json=ADA).status_code == 201
        original, copy, bare = (
            tmp_path / "data" / "guilder.db",
            tmp_path / "a.db",
            tmp_path / "b.db",
        )
        subprocess.run([*written_command(), original, copy], check=True, timeout=LONG)
        bare.write_bytes(original.read_bytes())
        assert running.stop() == 0
    whole = run(tmp_path, environment(f"sqlite:///{copy}", tmp_path), "verify")
    assert whole.returncode == 0
    assert "Users: 1. Last booking: none." in whole.stdout
    assert "EMPTY" not in whole.stdout
    empty = run(tmp_path, environment(f"sqlite:///{bare}", tmp_path), "verify")
    assert empty.returncode != 0 or "THIS BANK IS EMPTY" in empty.stdout


def test_an_empty_bank_is_told_aloud_and_by_a_machine(database_url: str, tmp_path: Path) -> None:
    said = guilder(database_url, tmp_path, "verify").stdout.splitlines()
    assert said[-2] == "Users: 0. Last booking: none."
    assert said[-1].startswith("THIS BANK IS EMPTY")
    found = guilder(database_url, tmp_path, "verify", "--json").stdout
    assert '"users": 0, "last_booked_at": null' in found


def test_a_copy_of_another_version_is_not_said_to_hold(database_url: str, tmp_path: Path) -> None:
    """What a newer one keeps is not known here, and of an older one something is missing."""
    for revision, said in (
        ("20990101_future", "is at revision 20990101_future, which this version lacks"),
        ("20261122_accounts", "is at revision 20261122_accounts, older than this version: run"),
    ):
        asyncio.run(
            owner.execute(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")
        )
        done = guilder(database_url, tmp_path, "verify")
        assert (done.exit_code, done.stdout) == (3, "")
        assert said in done.stderr
    asyncio.run(owner.execute(database_url, "DELETE FROM alembic_version"))
    done = guilder(database_url, tmp_path, "verify")
    assert done.exit_code == 3
    assert done.stderr == (
        "guilder: there is no bank in the database: `guilder migrate` makes one\n"
    )


@pytest.mark.heavy
def test_the_last_booking_and_the_users_are_told(database_url: str, tmp_path: Path) -> None:
    values = environment(database_url, tmp_path)
    assert run(tmp_path, values, "seed", "--users", "3", "--transfers", "5").returncode == 0
    said = run(tmp_path, values, "verify").stdout.splitlines()
    assert re.fullmatch(r"Users: 3\. Last booking: 20\d\d-\d\d-\d\dT[0-9:.]+Z\.", said[-1])
