"""The glossary is in order, and names nothing that the code does not have."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.source import ROOT, sources

PAGE = ROOT / "docs" / "explanation" / "glossary.md"
TERM = re.compile(r"- \*\*(?P<term>[^*]+)\*\*: (?P<meaning>\S.*[.)])")
NAME = re.compile(r"`([A-Za-z_]+)`")
OF_STANDARDS = {"Z", "_at", "_us", "code"}
"""Parts of names, and what belongs to no name of ours."""


def problems(page: str, names: set[str]) -> Iterator[str]:
    """What is wrong with a glossary, where the code has these ``names``."""
    before = ""
    for line in page.splitlines():
        if not line.startswith("-"):
            continue
        if (match := TERM.fullmatch(line)) is None:
            yield f"not a term and what it means, in a sentence: {line}"
            continue
        if match["term"].casefold() <= before:
            yield f"not in its place: {match['term']}"
        before = match["term"].casefold()
        for name in NAME.findall(match["meaning"]):
            if name not in names | OF_STANDARDS:
                yield f"{match['term']}: the code has no {name}"


def names_in_code() -> set[str]:
    found: set[str] = set()
    for source in sources("guilder"):
        for node in ast.walk(source.tree):
            match node:
                case ast.Name(id=name) | ast.arg(arg=name):
                    found.add(name)
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    found.add(name)
                case ast.AsyncFunctionDef(name=name):
                    found.add(name)
    return found


def test_the_glossary_is_in_order_and_true_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("\n- ") > 50
    assert list(problems(page, names_in_code())) == []


@pytest.mark.parametrize(
    "line",
    [
        "- **Account**: what is held (`Acount`).",
        "- **Account**:",
        "- **Account** what is held.",
        "- **Account**: what is held",
        "- **Zebra**: striped.\n- **Account**: what is held.",
        "- **Account**: what is held.\n- **Account**: held.",
    ],
)
def test_a_planted_breach_is_found(line: str) -> None:
    assert list(problems(f"# Glossary\n\n{line}\n", {"Account"}))


def test_a_sound_line_is_none() -> None:
    line = "- **Account**: what is held, `_at` an instant (`Account`).\n- **E-mail key**: a form."
    assert list(problems(line, {"Account"})) == []
