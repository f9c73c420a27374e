"""The tools that make clients, and a bank for the clients to walk through."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.serving import Running, environment, serving
from tests.clients.toolbox import TOOLS, Toolbox
from tests.house.source import ROOT
from tests.support.waiting import LONG


@pytest.fixture
def toolbox(tmp_path: Path) -> Toolbox:
    """What is installed, installed now where it is not: by one test process, others wait."""
    with (ROOT / ".venv/clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([ROOT / "tools/clients"], check=False, timeout=LONG)
    if done.returncode:
        pytest.skip("tools/clients could not install, it needs an index of packages")
    return Toolbox(tmp_path)


@pytest.fixture
def node(toolbox: Toolbox) -> Toolbox:
    """The same with Node's packages, and our programs for them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("this machine has no node and npm")
    for path in (ROOT / "tests/clients/node").iterdir():
        if path.is_file():
            shutil.copy(path, toolbox.folder)
    (toolbox.folder / "node_modules").symlink_to(TOOLS / "node/node_modules")
    return toolbox


@pytest.fixture
def bank(sqlite_url: str, tmp_path: Path) -> Iterator[Running]:
    """A bank that is served."""
    values = environment(sqlite_url, tmp_path, ENV="sandbox", RATE_LIMITS="off")
    with serving(tmp_path, values) as running:
        yield running
