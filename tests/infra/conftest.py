"""Fixtures of the adapters' tests."""

import os

import pytest


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from outside."""
    for name in list(os.environ):
        if name.startswith("GUILDER_"):
            monkeypatch.delenv(name)
