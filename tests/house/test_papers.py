"""The papers of the project: short where promised, and naming no machine and no registry."""

import os
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.house.source import ROOT

LONGEST_README = 120
LONGEST_DECISION = 40
MOST_TARGETS = 18
# Written so that this file does not match itself.
NOT_IN_A_REPOSITORY = re.compile(
    r"py[p]i\.org|pythonhost[e]d\.org|registry\.npm[j]s\.org|deb\.deb[i]an\.org"
    r"|(?:^|[^\w.~-])/(?:w[o]rk|f[a]rm)/|/r[o]ot/\.pyenv"
    r"|(?:^|[^\w.~-])/o[p]t/(?:py[p]i|wh[e]els)"
)


def targets(makefile: str) -> dict[str, str]:
    """Return each target with what it says about itself."""
    return dict(re.findall(r"^([a-z][a-z-]*):[^=\n]*?(?:## (.*))?$", makefile, re.MULTILINE))


def machine_traces(files: Iterable[tuple[str, str]]) -> Iterator[str]:
    for path, text in files:
        for number, line in enumerate(text.splitlines(), 1):
            if match := NOT_IN_A_REPOSITORY.search(line):
                yield f"{path}:{number}: {match[0].strip()}"


def committed() -> Iterator[tuple[str, str]]:
    """Yield path and text of what is tracked or would be."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (raw := path.read_bytes()):
            yield name, raw.decode("utf-8")


def decisions() -> list[Path]:
    return sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_makefile_is_short_and_documents_itself() -> None:
    found = targets((ROOT / "Makefile").read_text())
    assert len(found) <= MOST_TARGETS
    assert {"help", "setup", "run", "test", "ci", "lint", "types", "contracts"} <= set(found)
    assert [name for name, words in found.items() if not words] == []


def test_an_undocumented_target_is_found() -> None:
    planted = "A := 1\nB ?= 2\nrun: setup ## Serve\n\t@x\nsecret-one: run\n\t@y\n"
    assert targets(planted) == {"run": "Serve", "secret-one": ""}


def test_make_alone_lists_the_targets() -> None:
    said = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert all(f"make {name} " in said for name in targets((ROOT / "Makefile").read_text()))


def recipe(*arguments: str) -> list[str]:
    """What make would run, whatever the make says that runs this."""
    return subprocess.run(
        ["make", "-n", *arguments],
        env={"PATH": os.environ["PATH"]},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()


@pytest.mark.parametrize("chosen", ["tests/core/test_x.py::test_y[a,b]", "-k 'a or b'"])
def test_chosen_tests_run_without_the_checks_before_them(chosen: str) -> None:
    (setup, tests) = recipe("test", f"T={chosen}")
    assert setup == "tools/setup"
    assert tests.split("pytest ")[1].split() == ["-n", "0", "-m", '"not', 'long"', *chosen.split()]
    assert len(recipe("test")) > 2


def test_make_run_follows_the_code_only_when_asked() -> None:
    assert recipe("run")[-1].split() == ["exec", ".venv/bin/guilder", "demo"]
    assert recipe("run", "RELOAD=1")[-1].endswith("guilder demo --reload")


def test_readme_is_short_and_shows_both_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= LONGEST_README
    for command in ("make run", "make test", "pip install guilder", "guilder demo"):
        assert any(line.strip().startswith(command) for line in lines), command


def test_decisions_are_short_numbered_and_dated() -> None:
    papers = decisions()
    assert papers
    for number, path in enumerate(papers, 1):
        lines = path.read_text().splitlines()
        assert path.name.startswith(f"{number:04}-"), path.name
        assert len(lines) <= LONGEST_DECISION, path.name
        assert any(re.match(r"Date: \d{4}-\d\d-\d\d$", line) for line in lines), path.name


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    assert list(machine_traces(committed())) == []


@pytest.mark.parametrize(
    "line",
    [
        "url = https://files.python" + "hosted.org/packages/x",
        "see /wo" + "rk/main",
        "'/ro" + "ot/.pyenv/versions'",
        "--find-links=/op" + "t/wheels",
    ],
)
def test_a_planted_trace_is_found(line: str) -> None:
    assert list(machine_traces([("a", f"first\n{line}\n")]))


@pytest.mark.parametrize("line", ["bench/wrk/", "~/work", "see docs/home/x", "network/x"])
def test_ordinary_words_are_no_trace(line: str) -> None:
    assert list(machine_traces([("a", line)])) == []


def test_the_readme_links_to_what_is_there_from_wherever_it_is_read() -> None:
    """It is the page of the package, too, where a relative link leads nowhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    home = re.escape(project["urls"]["Homepage"])
    links = re.findall(r"\]\(([^)\s]+)", (ROOT / "README.md").read_text())
    links += project["urls"].values()
    assert len(links) > 15
    for link in links:
        found = re.fullmatch(home + r"(?:/issues|/(blob|tree)/main/(.+))?", link)
        assert found is not None, link
        if found[2] is not None:
            path = ROOT / found[2]
            assert path.is_dir() if found[1] == "tree" else path.is_file(), link


def test_relative_links_of_the_papers_lead_somewhere() -> None:
    papers = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
    missing = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in papers
        for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", path.read_text())
        if not (path.parent / link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("script", "shell"), [("tools/setup", "sh"), ("tools/lock", "sh"), (".ci/run", "bash")]
)
def test_scripts_parse_and_can_be_run(script: str, shell: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run([shell, "-n", ROOT / script], check=True)
