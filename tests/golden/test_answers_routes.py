"""Every answer of the API, byte for byte, as it is kept in ``answers``.

``GUILDER_WRITE_GOLDEN=1 pytest -n 0 tests/golden`` writes the files anew, on SQLite; PostgreSQL
must give the same.
"""

import os
import re
from collections.abc import Awaitable, Callable
from difflib import unified_diff
from pathlib import Path
from typing import Final

import pytest

from guilder.core.clock import FixedClock, SystemClock
from guilder.db.engine import is_sqlite
from tests.golden.chapters.accounts import accounts
from tests.golden.chapters.admin import admin, audit, rotations
from tests.golden.chapters.batches import batches
from tests.golden.chapters.entrance import entrance
from tests.golden.chapters.factors import factors
from tests.golden.chapters.history import history
from tests.golden.chapters.letters import letters
from tests.golden.chapters.manners import OPERATIONS, manners, roles
from tests.golden.chapters.passkeys import passkeys
from tests.golden.chapters.production import production
from tests.golden.chapters.sessions import sessions
from tests.golden.chapters.system import system
from tests.golden.chapters.transfers import transfers
from tests.golden.walk import Walk, opened_walk
from tests.support.sizes import postgres_in_ci

NOW: Final = 1_800_000_000_000_000
FOLDER: Final = Path(__file__).with_name("answers")
HOW: Final = "If that is meant: GUILDER_WRITE_GOLDEN=1 pytest -n 0 tests/golden"
CHAPTERS: Final[tuple[Callable[[Walk], Awaitable[None]], ...]] = (
    system, entrance, sessions, letters, factors, passkeys, accounts, transfers, batches, history,
    admin, audit, manners, roles, rotations, production,
)  # fmt: skip
"""In the order of the walk: each may build on those before it."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FixedClock:
    """The system's clock, which stands still until it is moved."""
    clock = FixedClock(NOW)
    monkeypatch.setattr(SystemClock, "now_us", lambda _: clock.now_us())
    return clock


@postgres_in_ci
async def test_every_answer_is_as_it_was(
    database_url: str, tmp_path: Path, clock: FixedClock
) -> None:
    async with opened_walk(database_url, tmp_path, clock) as walk:
        for chapter in CHAPTERS:
            walk.turn_to(chapter.__name__)
            await chapter(walk)
    found = {f"{name}.txt": "\n".join(page) for name, page in walk.pages.items()}
    assert never_succeeded(walk) == []
    if os.environ.get("GUILDER_WRITE_GOLDEN") and is_sqlite(database_url):
        write(found)
    kept = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    if changed := difference(kept, found):
        pytest.fail(f"{changed}\n{HOW}", pytrace=False)


def never_succeeded(walk: Walk) -> list[str]:
    """The operations of the reference that no request of the walk has succeeded with."""
    return [
        operation["operationId"]
        for method, template, operation in OPERATIONS
        if not any(
            method == done and re.fullmatch(re.sub(r"\{\w+\}", "[0-9a-f-]{36}", template), path)
            for done, path in walk.succeeded
        )
    ]


def write(found: dict[str, str]) -> None:
    """Keep what was found, and nothing else."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    for name, page in found.items():
        (FOLDER / name).write_text(page, "utf-8")


def difference(kept: dict[str, str], found: dict[str, str]) -> str:
    """A unified diff of all files; empty when they are the same."""
    lines: list[str] = []
    for name in sorted(kept | found):
        before, after = (page.get(name, "").splitlines() for page in (kept, found))
        lines += unified_diff(before, after, f"kept {name}", f"found {name}", lineterm="")
        if not lines and kept.get(name) != found.get(name):
            lines.append(f"{name}: the ends of lines differ")
    return "\n".join(lines)
