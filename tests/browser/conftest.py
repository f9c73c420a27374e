"""A browser of the machine, and programs that walk in it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.conftest import toolbox
from tests.clients.toolbox import Toolbox
from tests.house.source import ROOT

__all__ = ["toolbox"]

WALKS = Path(__file__).parent / "walks"


@dataclass(frozen=True)
class Browser:
    """Chromium, driven by Playwright, which brings no browser of its own: see ``tools/clients``."""

    toolbox: Toolbox
    chromium: str

    def walks(self, name: str, *arguments: str | Path) -> None:
        """Run a walk to its end."""
        self.toolbox.python(WALKS / f"{name}.py", *arguments, path=ROOT, CHROMIUM=self.chromium)


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Browser:
    """The browser of this machine."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Browser(request.getfixturevalue("toolbox"), found)
    pytest.skip("this machine has no Chromium, and .ci/run could not install it")
