"""Sizes and seeds: a small size in every run, the full one when ``long`` is asked for.

``GUILDER_TEST_SEED`` repeats a run; every test prints what it used and what it found.
"""

import os
from typing import Any

import pytest

SEED = int(os.environ.get("GUILDER_TEST_SEED", "20261122"))


def sizes(small: Any, full: Any, *, full_minutes: int = 60) -> pytest.MarkDecorator:
    """Parametrises ``size``: small always, full only with ``-m long``."""
    long_marks = (pytest.mark.long, pytest.mark.timeout(full_minutes * 60))
    return pytest.mark.parametrize(
        "size", [pytest.param(small, id="small"), pytest.param(full, id="full", marks=long_marks)]
    )


def _engines(first: str, in_ci: str) -> pytest.MarkDecorator:
    engines = [first, pytest.param(in_ci, marks=pytest.mark.heavy)]
    return pytest.mark.parametrize("database_url", engines, indirect=True)


postgres_in_ci = _engines("sqlite", "postgres")
"""Both engines, PostgreSQL only with the heavy tests: for what is about something else."""
sqlite_in_ci = _engines("postgres", "sqlite")
"""Both engines, SQLite only with the heavy tests."""


def tell(what: str, **facts: Any) -> None:
    """One line of figures, with the seed."""
    print(what, f"seed={SEED}", *[f"{name}={value}" for name, value in facts.items()])


def of(found: int, total: int) -> str:
    """A count as it is reported: "0 of N" rather than "none"."""
    return f"{found} of {total}"
