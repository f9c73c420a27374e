"""Every other command, run in this process: what it prints and the status it ends with."""

import asyncio
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from guilder import __version__
from guilder.bootstrap import open_bank
from guilder.cli import app
from guilder.core.actor import SYSTEM
from guilder.db.audit import AuditEntry, Phase, append
from guilder.domains.identity.queries import user_by_email
from guilder.infra.process.settings import Settings
from tests.support.app import PRODUCTION
from tests.support.constants import PASSWORD


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Commands set up the log of their process, which is ours here."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile")
    collected = {name: vars(logging)[name] for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    vars(logging).update(collected)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUILDER_LOG_FORMAT", "json")
    monkeypatch.setenv("GUILDER_PORT", "0")


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GUILDER_DATABASE_URL", database_url)
    return database_url


def guilder(*arguments: str, status: int = 0, typed: str | None = None) -> Result:
    ours = {name: None for name in os.environ if name.startswith("GUILDER_TEST_")}
    done = CliRunner().invoke(app, arguments, input=typed, env=ours)
    assert done.exit_code == status, (done.output, done.stderr, done.exception)
    return done


def test_help_lists_the_commands() -> None:
    said = guilder("--help").stdout
    for name in ("serve", "demo", "migrate", "seed", "verify", "create-admin", "worker",
                 "openapi", "settings", "keys", "shell"):  # fmt: skip
        assert f" {name} " in said
        guilder(name, "--help")
    assert "serve-worker" not in said


def test_version() -> None:
    assert guilder("--version").stdout.strip() == __version__


def test_settings_are_shown_with_their_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUILDER_DATABASE_URL", "postgresql://u:canary@h/d")
    monkeypatch.setenv("GUILDER_SECRET_KEY", "canary" * 6)
    said = guilder("settings").stdout
    assert "GUILDER_PORT=0  (environment)" in said
    assert "GUILDER_DATABASE_URL=postgresql://u:********@h/d  (environment)" in said
    rows = json.loads(guilder("settings", "--json").stdout)
    assert {"name", "value", "source", "description"} == rows[0].keys()
    assert "canary" not in said + json.dumps(rows)


def test_wrong_settings_are_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUILDER_PROT", "1")
    said = guilder("settings", status=2).stderr
    assert (
        said == "guilder: GUILDER_PROT (environment) is not a setting; did you mean GUILDER_PORT?\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "70000"),
        ("serve", "--workers", "0"),
        ("seed", "--users", "-1"),
        ("serve", "--reload", "--workers", "2"),
        ("demo", "--reload", "--workers", "2"),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[str, ...]) -> None:
    guilder(*arguments, status=2)


def test_the_reference_is_printed_alike_and_nothing_is_opened(tmp_path: Path) -> None:
    first, second = guilder("openapi").stdout, guilder("openapi").stdout
    assert first == second
    assert json.loads(first)["openapi"].startswith("3.1")
    assert list(tmp_path.iterdir()) == []


def test_migrating_an_empty_database_and_again(tmp_path: Path) -> None:
    assert guilder("migrate").stdout == "The database has been migrated.\n"
    assert guilder("migrate").stdout == "Nothing to do.\n"
    assert (tmp_path / "data" / "guilder.db").exists()


def test_a_database_that_is_newer_is_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUILDER_DATABASE_URL", sqlite_url)
    change(sqlite_url, "UPDATE alembic_version SET version_num = 'from_tomorrow'")
    for name in ("migrate", "serve", "worker"):
        said = guilder(name, status=3).stderr
        assert "from_tomorrow" in said
        assert len(said.splitlines()) == 1


def change(url: str, statement: str) -> None:
    """Change an SQLite database behind the bank's back."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_the_books_are_verified(database: str) -> None:
    assert guilder("verify").stdout.startswith("The books hold: 0 transfers in 0 batches")
    report = json.loads(guilder("verify", "--json").stdout)
    assert (report["holds"], report["broken"]) == (True, None)


def test_broken_books_end_with_status_1_and_the_first_bad_row(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUILDER_DATABASE_URL", sqlite_url)
    change(sqlite_url, "UPDATE ledger_head SET last_no = 5")
    assert "ledger_head" in guilder("verify", status=1).stdout
    report = json.loads(guilder("verify", "--json", status=1).stdout)
    assert report["holds"] is False
    assert report["broken"]["table"] == "ledger_head"


def test_there_is_nothing_to_verify_without_a_database(tmp_path: Path) -> None:
    assert "there is none at" in guilder("verify", status=3).stderr
    assert list(tmp_path.iterdir()) == []


def test_an_administrator_is_made_once(database: str) -> None:
    options = ("create-admin", "--email", "Root@Bank.test", "--password", PASSWORD)
    assert guilder(*options).stdout == "Root@bank.test is an administrator.\n"
    assert guilder(*options, status=1).stderr.startswith("guilder: There is a login")

    async def find() -> str:
        async with open_bank(Settings()) as bank:
            user = await bank.runner.view(lambda view: user_by_email(view, "root@bank.test"))
            assert user is not None
            return user.role.value

    assert asyncio.run(find()) == "admin"


def test_an_administrator_may_be_asked_for(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUILDER_DATABASE_URL", sqlite_url)
    said = guilder("create-admin", typed=f"a@b.test\n{PASSWORD}\n{PASSWORD}\n").output
    assert "a@b.test is an administrator." in said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("email", "password", "status", "said"),
    [
        ("nobody", PASSWORD, 2, "not an e-mail address"),
        ("a@b.test", "short", 1, "Use at least 12 characters."),
    ],
)
def test_an_administrator_who_breaks_the_rules_is_refused(
    email: str, password: str, status: int, said: str
) -> None:
    done = guilder("create-admin", "--email", email, "--password", password, status=status)
    assert said in done.stderr


def test_seeding_many_and_starting_anew(database: str) -> None:
    assert (
        "Made 3 users and 20 transfers."
        in guilder("seed", "--users", "3", "--transfers", "20").stdout
    )
    report = json.loads(guilder("verify", "--json").stdout)
    assert report["transfers"] == 23
    guilder("seed", "--reset", "--users", "2", "--transfers", "1")
    report = json.loads(guilder("verify", "--json").stdout)
    assert (report["holds"], report["transfers"]) == (True, 3)


def test_transfers_need_users() -> None:
    assert "at least two users" in guilder("seed", "--transfers", "5", status=2).stderr


@pytest.mark.parametrize("name", ["seed", "demo"])
def test_there_is_no_demo_in_production(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, value in PRODUCTION.items():
        monkeypatch.setenv(f"GUILDER_{setting.upper()}", str(value))
    assert "no demo data in production" in guilder(name, status=2).stderr


def test_production_tells_all_that_is_missing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUILDER_ENV", "production")
    said = guilder("serve", status=2).stderr.splitlines()
    names = ("GUILDER_SECRET_KEY", "GUILDER_ENCRYPTION_KEY", "GUILDER_BASE_URL")
    assert [line.split(" in production")[0] for line in said] == [
        f"guilder: {name} must be set" for name in names
    ]


def test_history_is_held_against_an_anchor(database: str) -> None:
    guilder("seed", "--users", "2", "--transfers", "3")
    report = json.loads(guilder("verify", "--json").stdout)
    anchor = f"{report['batch']}:{report['chain']}"
    assert f"Anchor: {anchor}" in guilder("verify", "--anchor", anchor).stdout
    other = f"{report['batch']}:{'0' * 64}"
    assert "differs from the anchor" in guilder("verify", "--anchor", other, status=1).stdout
    cut_off = f"{report['batch'] + 1}:{report['chain']}"
    assert "it is missing" in guilder("verify", "--anchor", cut_off, status=1).stdout
    assert "NUMBER:HASH" in guilder("verify", "--anchor", "latest", status=2).stderr


def test_a_broken_audit_trail_ends_with_status_1_and_the_first_bad_row(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUILDER_DATABASE_URL", sqlite_url)
    guilder("create-admin", "--email", "a@b.test", "--password", PASSWORD)
    assert "The audit trail holds: 2 rows." in guilder("verify").stdout
    change(sqlite_url, "DROP TRIGGER audit_events_no_update")
    change(sqlite_url, "UPDATE audit_events SET actor = 'anonymous' WHERE id = 2")
    said = guilder("verify", status=1).stdout
    assert said.startswith("The books hold")
    assert "The audit trail is broken: audit_events 2: the hash does not fit the row" in said
    report = json.loads(guilder("verify", "--json", status=1).stdout)
    assert report["holds"] is False
    assert report["broken"] == report["audit"]["broken"]
    assert report["broken"]["table"] == "audit_events"
    change(sqlite_url, "UPDATE ledger_head SET last_no = 5")
    report = json.loads(guilder("verify", "--json", status=1).stdout)
    assert report["broken"]["table"] == "ledger_head"
    assert report["audit"]["broken"]["table"] == "audit_events"


def test_the_audit_trail_is_held_against_an_anchor(database: str) -> None:
    guilder("create-admin", "--email", "a@b.test", "--password", PASSWORD)
    audit = json.loads(guilder("verify", "--json").stdout)["audit"]
    anchor = f"{audit['number']}:{audit['chain']}"
    guilder("create-admin", "--email", "c@d.test", "--password", PASSWORD)
    assert f"Audit anchor: {audit['number'] + 2}:" in guilder("verify").stdout
    guilder("verify", "--audit-anchor", anchor)
    other = f"{audit['number']}:{'0' * 64}"
    said = guilder("verify", "--audit-anchor", other, status=1).stdout
    assert "differs from the anchor" in said
    said = guilder("verify", "--audit-anchor", "latest", status=2).stderr
    assert "--audit-anchor" in said


def test_an_attempt_without_an_outcome_is_told_and_breaks_nothing(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUILDER_DATABASE_URL", sqlite_url)

    async def attempt() -> None:
        async with open_bank(Settings()) as bank, bank.database.begin() as connection:
            entry = AuditEntry(1, UUID(int=1), "user.create", Phase.ATTEMPTED, SYSTEM)
            await append(connection, [entry], bank.runner.signer)

    asyncio.run(attempt())
    said = guilder("verify").stdout
    assert "Attempts without an outcome, of which nothing was kept: 1\n" in said
    assert "  1970-01-01T00:00:00.000001Z user.create by system (row 1)\n" in said
    report = json.loads(guilder("verify", "--json").stdout)
    assert (report["holds"], report["audit"]["open_attempts"]) == (True, 1)
    assert report["audit"]["open"][0]["action"] == "user.create"


def test_reloading_is_refused_in_production(
    monkeypatch: pytest.MonkeyPatch, database: str, tmp_path: Path
) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(f"GUILDER_{name.upper()}", str(value))
    said = guilder("serve", "--reload", status=2).stderr
    assert said == "guilder: --reload is for development, not for production (GUILDER_ENV)\n"
    assert list(tmp_path.glob("data/*")) == []


COUNTING = """
from sqlalchemy import func, select
from guilder.domains.identity.commands.users import CreateUser, create_user
from guilder.domains.identity.models import users

async def number(view, table):
    return await view.scalar(select(func.count()).select_from(table))

before = await view(number, users)
for name in ("ada", "eve"):
    await run(create_user, CreateUser(f"{name}@example.test", "hash"))

print(before, await view(number, users), type(bank).__name__)
"""


def test_a_script_of_the_shell_awaits_what_the_bank_does(database: str) -> None:
    assert guilder("shell", typed=COUNTING).stdout == "0 2 Bank\n"


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("print('before')\nawait run()\nprint('after')", 1, 'File "<stdin>", line 2, in <module>'),
        ("print('before'", 1, "SyntaxError: '(' was never closed"),
        ("exit(5)", 5, ""),
    ],
)
def test_a_script_of_the_shell_that_fails_ends_with_a_status(
    script: str, status: int, said: str
) -> None:
    done = guilder("shell", typed=script, status=status)
    assert said in done.stderr
    assert "after" not in done.stdout
    assert "shell.py" not in done.stderr  # the frames of the shell itself are not shown


def test_a_trail_whose_key_is_not_given_is_unchecked_and_not_broken(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bank's keys stay at home when its copy is looked at elsewhere."""
    guilder("create-admin", "--email", "a@b.test", "--password", PASSWORD)
    monkeypatch.setenv("GUILDER_DATA_DIR", str(tmp_path / "elsewhere"))
    said = guilder("verify", status=2).stdout
    assert "broken" not in said
    assert "The audit trail cannot be checked from audit_events 1 on:" in said
    assert "GUILDER_ENCRYPTION_KEY" in said
    report = json.loads(guilder("verify", "--json", status=2).stdout)
    assert report["holds"] is False
    assert report["audit"]["missing_key"] in said
    monkeypatch.setenv("GUILDER_DATA_DIR", str(tmp_path / "data"))
    assert json.loads(guilder("verify", "--json").stdout)["audit"]["missing_key"] is None


def test_a_key_that_is_missing_is_told_by_a_name_that_keys_list_shows(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has several keys finds the bank's own among them, without opening the bank."""
    own, other = "a" * 40, "b" * 40
    monkeypatch.setenv("GUILDER_ENCRYPTION_KEY", own)
    guilder("create-admin", "--email", "a@b.test", "--password", PASSWORD)
    monkeypatch.setenv("GUILDER_ENCRYPTION_KEY", other)
    refused = guilder("create-admin", "--email", "c@b.test", "--password", PASSWORD, status=2)
    unchecked = json.loads(guilder("verify", "--json", status=2).stdout)["audit"]["missing_key"]
    monkeypatch.setenv("GUILDER_ENCRYPTION_KEY", f"{other},{own}")
    listed = json.loads(guilder("keys", "list", "--json").stdout)
    strange, ours = [row["names"] for row in listed if row["use"] == "encryption"]
    assert f"(passwords: {ours['passwords']})" in refused.stderr
    assert "`guilder keys list` shows" in refused.stderr
    assert unchecked == ours["audit_trail"]
    assert strange.keys() == ours.keys()
    assert not set(strange.values()) & set(ours.values())
    shown = guilder("keys", "list").stdout
    assert all(name in shown for row in listed for name in row["names"].values())
    assert own not in shown


def test_an_administrator_without_a_terminal_is_told_what_is_missing(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUILDER_DATABASE_URL", sqlite_url)
    assert "--email is missing" in guilder("create-admin", status=2, typed="").stderr
    done = guilder("create-admin", "--email", "a@b.test", status=2, typed="")
    assert "--password is missing, and there is no terminal" in done.stderr
    assert "required" not in guilder("create-admin", "--help").stdout


def test_an_address_that_is_none_is_refused_before_a_password_is_asked_for() -> None:
    done = guilder("create-admin", "--email", "x", status=2, typed="")
    assert "not an e-mail address" in done.stderr
    assert "Password" not in done.output
