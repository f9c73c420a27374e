"""Every condition of every UPDATE and DELETE is needed: without any one of them a test turns red.

They are found in the code. A caller reaches most of them, and then the walk sees it by the rows of
others; the tests of the rest are named here.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import pytest
from sqlalchemy.exc import IntegrityError

from tests.access.planting import ROOT, turns_red
from tests.access.walk import everything
from tests.access.world import World
from tests.house.source import Source, bound_changes, sources

CHANGES = "tests/domains/identity/test_changes_commands.py"
PRUNING = "tests/domains/identity/test_pruning_commands.py"
LETTERS = "tests/domains/identity/test_letters_commands.py"
OWN_LOGIN = "tests/domains/identity/test_own_login_routes.py"
THIEVES = "tests/domains/identity/test_thieves_commands.py"
STORE = "tests/domains/ledger/test_store_commands.py"
EFFECTS = "tests/access/test_effects_routes.py"
BENEATH: dict[str, tuple[str, ...]] = {
    CHANGES: (
        "use_step: ", "dispute: ", "use_recovery_code: ", "end_totp: ", "keep_totp: ",
        "mark_sent: ", "use_passkey: ", "remove_passkey: ", "mark_stepped_up: ",
        "invalidate_tokens: letters.c.purpose", "invalidate_tokens: letters.c.used_at",
        "end_sessions: sessions.c.ended_at",
    ),
    PRUNING: ("drop_failures: ", "drop_tokens: ", "drop_sessions: ", "drop_sign_ups: "),
    LETTERS: ("prune_letters: ", "prune_changes: "),
    OWN_LOGIN: ("give_up_address: ",),
    THIEVES: ("end_undos_since: ",),
    STORE: ("update_balance: ", "set_limit: "),
}  # fmt: skip
"""What no caller brings about, or only on what is theirs, by the tests that judge it."""
ON_POSTGRES = ("drop_failures: failures.c.last_at",)
"""What matters only where there are several writers at a time."""
NEEDLESS: dict[str, str] = {
    "update_head: head.c.lane == 0": "there is one lane, and a CHECK sees to it",
}


BOOKS = "guilder/domains/ledger/repository/books.py"
SQLITE = "guilder/domains/ledger/store/sqlite.py"
POSTGRES = "guilder/domains/ledger/store/postgres.py"
WRITTEN_OUT: list[tuple[str, str, str, str]] = [
    (BOOKS, "and_(c.account_id == number, c.period == period)", "c.period == period", STORE),
    (BOOKS, "and_(c.account_id == number, c.period == period)", "c.account_id == number", STORE),
    (SQLITE, "account_id = ?1 AND version", "?1 IS NOT NULL AND version", EFFECTS),
    (SQLITE, "account_id = ?1 AND period", "?1 IS NOT NULL AND period", STORE),
    (SQLITE, "AND period = ?2", "AND ?2 IS NOT NULL", STORE),
    (POSTGRES, "b.account_id = u.id AND b.version", "b.version", EFFECTS),
    (POSTGRES, "l.account_id = u.account_id AND l.period", "l.period", STORE),
    (POSTGRES, " AND l.period = u.period", "", STORE),
]
"""Those that stand elsewhere than in a ``.where()``: the file, what to look for, and without it."""


class Condition(NamedTuple):
    """One of a statement that changes rows."""

    source: Source
    function: str
    expression: ast.expr

    @property
    def name(self) -> str:
        return f"{self.function}: {ast.unparse(self.expression)}"

    @property
    def judges(self) -> str | None:
        """The tests that are meant for it, None for the walk."""
        found = (tests for tests, names in BENEATH.items() if self.name.startswith(names))
        return next(found, None)

    def without(self) -> str:
        """The file with TRUE in its place."""
        one = self.expression
        lines = self.source.text.splitlines(keepends=True)
        assert one.end_lineno is not None
        head, tail = lines[one.lineno - 1][: one.col_offset], lines[one.end_lineno - 1]
        true = f"{head}__import__('sqlalchemy').true(){tail[one.end_col_offset :]}"
        return "".join([*lines[: one.lineno - 1], true, *lines[one.end_lineno :]])


def conditions() -> Iterator[Condition]:
    for source in sources("guilder/domains"):
        for function in ast.walk(source.tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for _, found in bound_changes(function):
                    yield from (Condition(source, function.name, one) for one in found)


CONDITIONS = [one for one in conditions() if one.name not in NEEDLESS]


def test_every_line_is_about_a_condition_that_there_is() -> None:
    names = [one.name for one in conditions()]
    lines = [line for found in BENEATH.values() for line in found]
    for line in (*lines, *ON_POSTGRES, *NEEDLESS):
        assert any(name.startswith(line) for name in names), line
    for path, condition, _, _ in WRITTEN_OUT:
        assert (ROOT / path).read_text(encoding="utf-8").count(condition) == 1, condition


@pytest.mark.long
@pytest.mark.parametrize("copy", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "condition", [one for one in CONDITIONS if one.judges is None], ids=lambda one: one.name
)
async def test_without_a_condition_a_row_of_others_is_seen_to_change(
    world: World, condition: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = compile(condition.without(), condition.source.path, "exec")
    (planted,) = (
        one
        for one in code.co_consts
        if isinstance(one, CodeType) and one.co_name == condition.function
    )
    module = import_module(condition.source.path.removesuffix(".py").replace("/", "."))
    monkeypatch.setattr(getattr(module, condition.function), "__code__", planted)
    with pytest.raises((AssertionError, IntegrityError)):
        await everything(world)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "condition", [one for one in CONDITIONS if one.judges], ids=lambda one: one.name
)
def test_without_a_condition_a_test_turns_red(condition: Condition, tmp_path: Path) -> None:
    assert condition.judges is not None
    engine = "postgres" if condition.name.startswith(ON_POSTGRES) else "sqlite"
    turns_red(condition.source.path, condition.without(), [condition.judges], tmp_path, engine)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("path", "condition", "without", "tests"), WRITTEN_OUT)
def test_without_a_condition_in_plain_sql_a_test_turns_red(
    path: str, condition: str, without: str, tests: str, tmp_path: Path
) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")
    engine = "postgres" if path == POSTGRES else "sqlite"
    turns_red(path, source.replace(condition, without), [tests], tmp_path, engine)
