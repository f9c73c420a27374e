"""Fixtures of the command line's tests."""

import logging
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that runs in this process sends the log of all of it elsewhere."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from outside; the suite's own names are taken out when a command runs."""
    for name in list(os.environ):
        if name.startswith("GUILDER_") and not name.startswith("GUILDER_TEST_"):
            monkeypatch.delenv(name)
