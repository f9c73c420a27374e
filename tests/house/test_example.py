"""What CONTRIBUTING promises of a change: the worked examples are counted, followed and asked."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.house.source import ROOT
from tests.house.test_contracts import LINT_IMPORTS

PAGE = "docs/how-to/add-a-domain.md"
ENDPOINT, DOMAIN = "An endpoint", "A domain"
MOST_OF_AN_ENDPOINT = 4
MOST_SHARED = 3

PLANTED = """
## An endpoint

Words.

```diff
{endpoint}```

## A domain

More words.

```diff
{domain}```
"""


class Stale(AssertionError):
    """The page is no longer about this code."""


def diffs(page: str, heading: str) -> str:
    """The diffs below a heading of the second level, one after the other."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return "".join(re.findall(r"^```diff\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


def touched(diff: str) -> dict[str, bool]:
    """The files that a diff touches, and whether each is new."""
    heads = re.findall(r"^--- (\S+)\n\+\+\+ b/(\S+)$", diff, re.MULTILINE)
    return {path: before == "/dev/null" for before, path in heads}


def folders(paths: list[str]) -> set[str]:
    return {str(PurePosixPath(path).parent) for path in paths}


def endpoint_faults(files: dict[str, bool]) -> Iterator[str]:
    if len(files) > MOST_OF_AN_ENDPOINT:
        yield f"an endpoint touches {len(files)} source files; {MOST_OF_AN_ENDPOINT} are promised"
    if len(found := folders(list(files))) != 1:
        yield f"an endpoint touches one folder, not {sorted(found)}"


def domain_faults(files: dict[str, bool]) -> Iterator[str]:
    own = folders([path for path, new in files.items() if new])
    if len(own) != 1:
        yield f"a domain is one new folder, not {sorted(own)}"
    shared = sorted(path for path in files if not folders([path]) <= own)
    if len(shared) > MOST_SHARED:
        yield f"a domain touches {len(shared)} shared files; {MOST_SHARED} are promised: {shared}"


def faults(page: str) -> list[str]:
    return [
        *endpoint_faults(touched(diffs(page, ENDPOINT))),
        *domain_faults(touched(diffs(page, DOMAIN))),
    ]


def follow(folder: Path, diff: str) -> None:
    """Apply the diffs of a page; raises ``Stale``, with git's words for where they do not fit."""
    alone = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    command = ["git", "apply", "--whitespace=error", "-"]
    done = subprocess.run(
        command, cwd=folder, env=alone, input=diff, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise Stale(f"{PAGE} does not fit the code any more, make its diffs anew:\n{done.stderr}")


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new_file(path: str) -> str:
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x = 1\n"


def change(path: str) -> str:
    return f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


def planted(endpoint: list[str], new: list[str], shared: list[str]) -> str:
    domain = [*map(new_file, new), *map(change, shared)]
    return PLANTED.format(endpoint="".join(map(change, endpoint)), domain="".join(domain))


def test_the_examples_touch_no_more_than_is_promised() -> None:
    assert faults((ROOT / PAGE).read_text()) == []


@pytest.mark.parametrize(
    ("endpoint", "new", "shared", "fault"),
    [
        (["a/1", "a/2", "a/3", "a/4"], ["n/1", "n/2"], ["s", "t/1", "t/2"], ""),
        (["a/1", "a/2", "a/3", "a/4", "a/5"], ["n/1"], [], "touches 5 source files"),
        (["a/1", "b/1"], ["n/1"], [], "one folder, not ['a', 'b']"),
        ([], ["n/1"], [], "one folder, not []"),
        (["a/1"], ["n/1"], ["s/1", "s/2", "t", "u"], "touches 4 shared files"),
        (["a/1"], ["n/1", "s/1"], [], "one new folder, not ['n', 's']"),
        (["a/1"], [], ["s/1"], "one new folder, not []"),
    ],
)
def test_one_file_too_many_is_found(
    endpoint: list[str], new: list[str], shared: list[str], fault: str
) -> None:
    found = faults(planted(endpoint, new, shared))
    assert len(found) == bool(fault), found
    assert fault in "".join(found)


def test_a_diff_whose_context_is_gone_says_where(tmp_path: Path) -> None:
    (tmp_path / "there.py").write_text("x = 1\n")
    (tmp_path / "moved.py").write_text("y = 1\n")
    follow(tmp_path, change("there.py") + new_file("n/new.py"))
    assert (tmp_path / "there.py").read_text() == "x = 2\n"
    assert (tmp_path / "n/new.py").read_text() == "x = 1\n"
    with pytest.raises(Stale, match=r"does not fit the code any more(.|\n)*moved\.py"):
        follow(tmp_path, change("moved.py"))


@pytest.mark.heavy
def test_whoever_follows_the_page_has_both_in_a_running_bank(tmp_path: Path) -> None:
    for name in ("guilder", "migrations", "tools", "tests"):
        ignored = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    page = (ROOT / PAGE).read_text()
    diff = diffs(page, ENDPOINT) + diffs(page, DOMAIN)
    follow(tmp_path, diff)
    python = [path for path in touched(diff) if path.endswith(".py")]
    run(tmp_path, sys.executable, "-m", "ruff", "check", "--no-cache", *python)
    run(tmp_path, sys.executable, "-m", "ruff", "format", "--no-cache", "--check", *python)
    run(tmp_path, LINT_IMPORTS, "--no-cache")
    reference = run(tmp_path, sys.executable, "-c", "from guilder.cli import app; app()", "openapi")
    (tmp_path / "openapi.json").write_text(reference, encoding="utf-8")
    run(tmp_path, sys.executable, "-m", "tools.migration", "add_notes")
    run(tmp_path, sys.executable, "-W", "error", "-m", "tests.house.example_walk")
