"""``guilder serve --reload``: a change in the code is served without being asked."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.cli.serving import Running, environment, serving
from tests.house.source import ROOT

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]

WORDS = '"Guilder, a bank in a box."'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the code, so that ours stays as it is."""
    for name in ("guilder", "migrations"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "source" / name, ignore=ignored)
    return tmp_path / "source"


def message(running: Running) -> str | None:
    """What the bank says of itself, None while nobody answers."""
    try:
        said = running.client.get(running.base, headers={"connection": "close"}, timeout=1)
    except httpx.TransportError:
        return None
    text: str = said.json()["message"]
    return text


def wait(until: Callable[[], bool], running: Running) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, running.log.read_text()[-3000:]
        time.sleep(0.1)


def test_a_change_is_served_and_so_is_the_repair_of_a_mistake(
    sqlite_url: str, tmp_path: Path, source: Path
) -> None:
    values = environment(sqlite_url, tmp_path) | {"PYTHONPATH": str(source)}
    main = source / "guilder" / "main.py"
    good = main.read_text()
    assert WORDS in good
    with serving(tmp_path, values, "--reload") as running:
        assert message(running) == "Guilder, a bank in a box."
        [first] = running.workers()
        main.write_text("is no Python\n")
        wait(lambda: "SyntaxError" in running.log.read_text(), running)
        assert running.process.poll() is None
        main.write_text(good.replace(WORDS, WORDS.replace("a box", "a new box")))
        wait(lambda: message(running) == "Guilder, a bank in a new box.", running)
        [second] = running.workers()
        assert first != second
        reloads = [line["changed"] for line in running.lines() if line["event"] == "reloading"]
        assert reloads == [["main.py"], ["main.py"]]
        assert running.stop(signal.SIGINT) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in (first, second))
    assert os.listdir(tmp_path / "data" / "run") == []
