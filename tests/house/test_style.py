"""The style of the house, and for each rule a planted file that breaks it."""

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.house import source
from tests.house.source import Source

Check = Callable[[Source], Iterator[str]]


def impure_core(file: Source) -> Iterator[str]:
    return source.impure_core(file, sys.stdlib_module_names)


EVERYWHERE: list[Check] = [source.long_files, source.long_functions, source.inner_imports]
PACKAGE: list[Check] = [
    source.stray_commits,
    source.stray_tables,
    source.own_clocks,
    source.floats_near_money,
    source.broad_excepts,
    source.unbound_changes,
    impure_core,
    source.own_ownership,
]
CARDS = "guilder/domains/cards/repository.py"
LEDGER = "guilder/domains/ledger/rules.py"
PLANTED: list[tuple[Check, str, str]] = [
    (source.long_files, "guilder/a.py", "a = 1\n" * 501),
    (source.long_functions, "guilder/a.py", "def f():\n" + "    a = 1\n" * 60),
    (source.long_functions, "tests/a.py", "class A:\n  async def f():\n" + "    a = 1\n" * 60),
    (source.inner_imports, "guilder/a.py", "def f():\n    import json\n"),
    (
        source.inner_imports,
        "tests/a.py",
        "async def f():\n    if a:\n        import json\n",
    ),
    (source.stray_commits, "guilder/domains/cards/commands.py", "await session.commit()"),
    (source.stray_commits, "guilder/db/outbox.py", "execute('commit;')"),
    (source.stray_tables, "guilder/domains/cards/repository.py", "cards = Table('cards', m)"),
    (source.stray_tables, "guilder/infra/a.py", "cards = sqlalchemy.Table('cards', m)"),
    (source.own_clocks, "guilder/api/a.py", "datetime.now(UTC)"),
    (source.own_clocks, "guilder/api/a.py", "datetime.datetime.utcnow()"),
    (source.own_clocks, "guilder/api/a.py", "date.today()"),
    (source.own_clocks, "guilder/api/a.py", "time.time()"),
    (source.own_clocks, "guilder/api/a.py", "Field(default_factory=time.time_ns)"),
    (source.own_clocks, "guilder/api/a.py", "from time import time"),
    (source.own_clocks, "guilder/domains/identity/models.py", "server_default=func.now()"),
    (source.floats_near_money, LEDGER, "float(amount)"),
    (source.floats_near_money, LEDGER, "amount: float | None = None"),
    (source.floats_near_money, "guilder/core/money.py", "amount * 1.1"),
    (source.floats_near_money, "guilder/domains/transfers/commands.py", "amount / 2"),
    (source.floats_near_money, "guilder/domains/accounts/models.py", "Column(Numeric)"),
    (source.broad_excepts, "guilder/api/a.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (source.broad_excepts, "guilder/api/a.py", "try:\n    f()\nexcept:\n    pass\n"),
    (
        source.broad_excepts,
        "guilder/a.py",
        "try:\n    f()\nexcept (OSError, Exception):\n    g()\n",
    ),
    (source.unbound_changes, CARDS, "await uow.execute(cards.update().values(state=1))"),
    (source.unbound_changes, CARDS, "uow.first(cards.delete().returning(cards.c.id).where())"),
    (source.unbound_changes, CARDS, "uow.execute(delete(cards))"),
    (source.unbound_changes, CARDS, "a = b.update().where(c == d)\ne = b.update().values(f=1)"),
    (source.unbound_changes, "guilder/domains/ledger/store/sqlite.py", "X = 'UPDATE a SET b = 1'"),
    (source.unbound_changes, CARDS, "X = f'UPDATE a SET {b} = 1'"),
    (impure_core, "guilder/core/a.py", "import sqlalchemy.orm"),
    (impure_core, "guilder/core/a.py", "from guilder.db import run"),
]
ALLOWED: list[tuple[Check, str, str]] = [
    (source.stray_commits, "guilder/db/run.py", "await session.commit()"),
    (source.stray_commits, "guilder/domains/ledger/store/postgres.py", "execute('COMMIT')"),
    (source.stray_tables, "guilder/domains/cards/models.py", "cards = Table('cards', m)"),
    (source.stray_tables, "guilder/db/outbox.py", "outbox = Table('outbox', m)"),
    (source.own_clocks, "guilder/core/clock.py", "datetime.now(UTC)"),
    (source.own_clocks, "guilder/api/a.py", "clock.now(); time.monotonic(); time.perf_counter()"),
    (source.floats_near_money, "guilder/infra/process/settings.py", "timeout: float = 0.5"),
    (source.floats_near_money, LEDGER, "def f(wait_seconds: float = 0.5): sleep(0.1)"),
    (
        source.broad_excepts,
        "guilder/a.py",
        "try:\n    f()\nexcept Exception:\n    raise\n",
    ),
    (source.broad_excepts, "guilder/a.py", "try:\n    f()\nexcept OSError:\n    pass\n"),
    (source.unbound_changes, CARDS, "cards.update().values(a=1).where(cards.c.id == id_)"),
    (source.unbound_changes, CARDS, "X = f'UPDATE a SET {b} = 1' f' WHERE c = {d}'"),
    (source.unbound_changes, CARDS, "delete(cards).where(cards.c.id.in_(old)); found.update(more)"),
    (source.unbound_changes, CARDS, "X = '\\nUPDATE a\\n SET b = ?\\n WHERE c = ?'"),
    (source.inner_imports, "guilder/a.py", "if TYPE_CHECKING:\n    import json\n"),
    (impure_core, "guilder/core/a.py", "import json\nfrom guilder.core.money import EXPONENTS"),
]


@pytest.mark.parametrize("check", EVERYWHERE, ids=lambda check: check.__name__)
def test_all_python_keeps_the_rule(check: Check) -> None:
    files = list(source.sources("guilder", "tests", "tools", "bench"))
    assert files
    assert [problem for file in files for problem in check(file)] == []


@pytest.mark.parametrize("check", PACKAGE, ids=lambda check: check.__name__)
def test_the_package_keeps_the_rule(check: Check) -> None:
    files = list(source.sources("guilder"))
    assert files
    assert [problem for file in files for problem in check(file)] == []


@pytest.mark.parametrize(("check", "path", "text"), PLANTED)
def test_a_planted_breach_is_found(check: Check, path: str, text: str) -> None:
    assert list(check(Source(path, text)))


@pytest.mark.parametrize(("check", "path", "text"), ALLOWED)
def test_what_is_allowed_passes(check: Check, path: str, text: str) -> None:
    assert list(check(Source(path, text))) == []


def test_exceptions_are_about_what_exists() -> None:
    for places in (
        source.MAY_COMMIT,
        source.MAY_CATCH_ALL,
        source.MAY_CHANGE_ALL,
        source.MAY_USE_FLOATS,
        source.MAY_JUDGE_OWNERSHIP,
    ):
        assert [place for place in places if not (source.ROOT / place).exists()] == []
