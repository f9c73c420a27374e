"""Fixtures of the command line's tests."""

import os

import pytest


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from outside; the suite's own names are taken out when a command runs."""
    for name in list(os.environ):
        if name.startswith("GUILDER_") and not name.startswith("GUILDER_TEST_"):
            monkeypatch.delenv(name)
