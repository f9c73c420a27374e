"""`make migration`: in a copy of the project whose models say more than its migrations."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT
from tools.migration import Refused, check_name

PLANTED = """
from sqlalchemy import CheckConstraint, Identity, text
from guilder.db.audit import audit_events
from guilder.db.base import APPEND_ONLY, Bytes, Flagged, Small

OPEN = text("seal IS NOT NULL")
notes = Table(
    "accounts_notes",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("account_id", Guid, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("shown", Flagged, nullable=False),
    Column("place", Small, nullable=False, server_default=text("1")),
    Column("words", String),
    Column("seal", Bytes, unique=True),
    CheckConstraint("place > 0", name="place"),
    Index("ix_accounts_notes_sealed", "words", sqlite_where=OPEN, postgresql_where=OPEN),
    **APPEND_ONLY,
    **STRICT,
)
audit_events.info = {}
accounts.append_column(Column("colour", Small, nullable=False, server_default=text("0")))
"""


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *args]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which there is nothing to do."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("guilder", "migrations", "tools", "tests/db"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="session")
def migrated(project: Path) -> tuple[Path, Path]:
    """The copy with a table and a column more and a mark less, and the migration made for it."""
    versions = project / "migrations/versions"
    before = set(versions.glob("*.py"))
    assert "nothing to write" in run(project, "tools.migration", "add_notes").stderr
    assert set(versions.glob("*.py")) == before
    with (project / "guilder/domains/accounts/models.py").open("a") as models:
        models.write(PLANTED)
    made = run(project, "tools.migration", "add_notes")
    assert made.returncode == 0, made.stderr
    (path,) = set(versions.glob("*.py")) - before
    assert path.relative_to(project).as_posix() in made.stdout
    return project, path


def test_the_file_is_dated_numbered_and_rendered_as_the_others_are(
    migrated: tuple[Path, Path],
) -> None:
    project, path = migrated
    assert re.fullmatch(r"\d{4}_\d\d_\d\d_add_notes", path.stem)
    text = path.read_text()
    day = path.stem[:10].replace("_", "")
    for line in (
        '"""Add notes."""',
        "from guilder.db.append_only import protect, unprotect",
        "from guilder.db.base import Big, Flagged, Guid, Small",
        f'revision = "{day}_add_notes"',
        '        sa.Column("account_id", Guid, nullable=False),',
        '        sa.Column("shown", Flagged, nullable=False),',
        '        sa.Column("seal", sa.LargeBinary(), nullable=True),',
        "        sqlite_strict=True,",
        '        sqlite_where=sa.text("seal IS NOT NULL"),',
        '    protect("accounts_notes")',
        '    unprotect("accounts_notes")',
        '    unprotect("audit_events")',
        '    protect("audit_events")',
    ):
        assert line in text.splitlines()
    assert "###" not in text
    assert "append_only" not in text.replace("guilder.db.append_only", "")
    for check in (["check"], ["format", "--check"]):
        assert run(project, "ruff", *check, "migrations").returncode == 0


def test_the_file_goes_up_and_down_and_equals_the_models(
    migrated: tuple[Path, Path], empty_url: str
) -> None:
    done = run(migrated[0], "tests.db.migrated", empty_url)
    assert done.returncode == 0, done.stderr


def test_what_sqlite_cannot_do_is_told_at_once(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    with (folder / "guilder/db/outbox.py").open("a") as models:
        models.write("from sqlalchemy import ForeignKey\n")
        models.write('outbox.append_column(Column("planted", Big, ForeignKey("outbox.id")))\n')
    said = run(folder, "tools.migration", "add_planted")
    assert said.returncode == 1
    assert "SQLite refuses it" in said.stderr
    assert "No support for ALTER of constraints" in said.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "make migration NAME=add_cards"),
        ("AddCards", "small letters"),
        ("add-cards", "small letters"),
        ("add__cards", "small letters"),
        ("1_card", "small letters"),
        ("../cards", "small letters"),
        ("a" * 24, "23 characters"),
        ("letters", "There is a migration of that name: 20261122_letters"),
    ],
)
def test_a_name_that_will_not_do_is_refused_with_a_sentence(name: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        check_name(name)


def test_a_name_of_full_length_will_do() -> None:
    check_name("a" * 23)
