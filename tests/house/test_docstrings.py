"""Docstrings say what is raised, in the words of the language."""

import ast
import re
from collections.abc import Iterable, Iterator

import pytest

from tests.house.declarations import Declaration
from tests.house.source import Source, sources

UNIDIOMATIC = re.compile(
    r"; refuses\b|(?:^|[.\n] ?)Refuses\b|\bRefuse an? \w+ who\b|\bwhat is none\b|\bhas not the\b"
    r"|\bnone such\b"
)
FOLDER = "guilder/api/a.py"
REFUSALS = (
    "class Refusal(Exception): ...\nclass Conflict(Refusal): ...\nclass Lost(Conflict): ...\n"
)


def refusals(files: Iterable[Source]) -> set[str]:
    """The names of all refusals."""
    bases = {
        node.name: [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        for source in files
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"Refusal"}
    while more := {name for name, of in bases.items() if known & set(of)} - known:
        known |= more
    return known


def documented(source: Source) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Public functions and methods with a docstring, but for endpoints: theirs is for clients."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node)
            if said and not node.name.startswith("_") and not _is_routed(source, node):
                yield node, said


def _is_routed(source: Source, node: ast.stmt) -> bool:
    return Declaration(source, "", node).is_routed


def unsaid(files: list[Source]) -> Iterator[str]:
    """Refusals that a function raises itself and does not name."""
    known = refusals(files)
    for source in files:
        for node, said in documented(source):
            for found in ast.walk(node):
                if isinstance(found, ast.Raise) and isinstance(found.exc, ast.Call):
                    name = ast.unparse(found.exc.func).rpartition(".")[2]
                    if name in known and f"``{name}``" not in said:
                        yield f"{source.path}:{node.lineno}: {node.name} raises ``{name}``: say so"


def odd(files: list[Source]) -> Iterator[str]:
    """Docstrings in a language of our own."""
    for source in files:
        for node, said in documented(source):
            if match := UNIDIOMATIC.search(said):
                yield f"{source.path}:{node.lineno}: {node.name}: {match[0]!r}; say what it raises"


def test_a_function_says_which_refusals_it_raises() -> None:
    files = list(sources("guilder"))
    assert len(refusals(files)) > 30
    assert list(unsaid(files)) == []


def test_docstrings_speak_as_everybody_does() -> None:
    assert list(odd(list(sources("guilder")))) == []


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Do it."""\n    raise Lost()\n',
        'def f():\n    """Do it. Raises ``Conflict``."""\n    raise errors.Lost("a")\n',
        'class A:\n    async def f(self):\n        """Do it."""\n        raise Lost()\n',
    ],
)
def test_a_planted_silence_is_found(text: str) -> None:
    assert list(unsaid([Source(FOLDER, REFUSALS + text)]))


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Do it. Raises ``Lost``."""\n    raise Lost()\n',
        'def _f():\n    """Do it."""\n    raise Lost()\n',
        'def f():\n    """Do it."""\n    raise ValueError("a")\n',
        '@router.get("/a")\nasync def f():\n    """What clients read."""\n    raise Lost()\n',
    ],
)
def test_what_is_said_or_not_ours_passes(text: str) -> None:
    assert list(unsaid([Source(FOLDER, REFUSALS + text)])) == []


@pytest.mark.parametrize(
    "said",
    [
        "Remove it; refuses who has no app.",
        "Remove it. Refuses who has no app.",
        "Refuse an actor who is nobody.",
        "Refuse without it, or one that has not the permission.",
        "An address; what is none is not found.",
    ],
)
def test_a_planted_phrase_is_found(said: str) -> None:
    assert list(odd([Source(FOLDER, f'def f():\n    """{said}"""\n')]))
