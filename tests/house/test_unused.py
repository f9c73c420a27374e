"""What is declared is used: by the package, its migrations, its tools or its benchmark."""

import pytest

from tests.house.declarations import unused
from tests.house.source import Source, sources

MAY_BE_UNUSED = {
    "FixedClock.advance": "time passes in tests alone",
    "PARTITIONS": "tests compare it with the migration",
    "PARTITION_SIZE": "tests compare it with the migration",
    "post": "waits for domains that move money beside rows of their own: cards, scheduled runs",
    "set_bounds": "waits for overdrafts",
    "set_flags": "waits for freezing accounts and cards",
    "set_limit": "waits for limits of cards and organisations",
}
"""What only tests use, and why it stands all the same."""

A, B = "guilder/api/a.py", "guilder/domains/cards/b.py"
PLANTED = {
    "function": {A: "def lost(): ..."},
    "class": {A: "class Lost: ..."},
    "class that names itself": {A: "class Lost:\n    def _twin(self) -> 'Lost': return Lost()"},
    "constant": {A: "LOST: Final = 1"},
    "type": {A: "type Lost = dict[str, int]"},
    "recursion": {A: "def lost(n): return lost(n - 1)"},
    "same name used from elsewhere": {
        A: "def lost(): ...",
        "guilder/api/c.py": "def lost(): ...",
        B: "from guilder.api import c\nc.lost()",
    },
    "a method of that name": {A: "def lost(): ...", B: "books.lost()"},
    "in `__all__` alone": {A: "lost = 1\n__all__ = ['lost']"},
    "method": {A: "class A:\n    def lost(self): ...", B: "from guilder.api.a import A"},
    "property": {A: "class A:\n    @property\n    def lost(self): ...\nA"},
    "member of an enumeration": {A: "class A(StrEnum):\n    LOST = 'lost'\nA"},
}
USED = {
    "imported": {A: "def kept(): ...", B: "from guilder.api.a import kept"},
    "under another name": {A: "kept = 1", B: "from guilder.api.a import kept as own"},
    "through its module": {A: "kept = 1", B: "from guilder.api import a as own\nown.kept"},
    "through its whole path": {A: "kept = 1", B: "import guilder.api.a\nguilder.api.a.kept"},
    "beside it": {A: "KEPT: Final = 1\ndef _f(): return KEPT"},
    "in a forward reference": {A: "class Kept: ...\ndef _f(a: 'list[Kept]'): ..."},
    "by a module that is loaded": {A: "kept = 1", B: "import_module('guilder.api.a').kept"},
    "endpoint": {A: "@router.get('/a')\n@limited(READ)\nasync def kept(): ..."},
    "method": {A: "class A:\n    def kept(self): ...\nA().kept()"},
    "method by name": {A: "class A:\n    def kept(self): ...\ngetattr(A(), 'kept')"},
    "method that a library calls": {A: "class A(BaseModel):\n    def kept(self): ...\nA"},
    "method of a heir": {A: "class _A(Table):\n    ...\nclass B(_A):\n    def kept(self): ...\nB"},
    "member of an enumeration": {A: "class A(Enum):\n    KEPT = 1\nA.KEPT"},
    "private": {A: "def _kept(): ..."},
}


def planted(files: dict[str, str]) -> list[Source]:
    return [Source(path, text) for path, text in files.items()]


def found() -> dict[str, str]:
    package = list(sources("guilder"))
    assert package
    return unused(package, sources("bench", "migrations", "tools"))


def test_everything_that_is_declared_is_used() -> None:
    dead = {name: place for name, place in found().items() if name not in MAY_BE_UNUSED}
    assert dead == {}, "delete it, with the tests that try only it"


def test_what_may_be_unused_is_unused() -> None:
    assert sorted(MAY_BE_UNUSED.keys() - found().keys()) == []


@pytest.mark.parametrize("files", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_dead_declaration_is_found(files: dict[str, str]) -> None:
    assert [name.rpartition(".")[2].lower() for name in unused(planted(files), [])] == ["lost"]


@pytest.mark.parametrize("files", USED.values(), ids=USED.keys())
def test_what_is_used_is_not_dead(files: dict[str, str]) -> None:
    assert unused(planted(files), []) == {}


def test_what_the_benchmark_uses_is_not_dead() -> None:
    bench = Source("bench/a.py", "from guilder.api.a import kept")
    assert unused(planted({A: "def kept(): ..."}), [bench]) == {}
