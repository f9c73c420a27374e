"""Plants a defect in a copy of the project and lets tests look for it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = {"sqlite": "not long and not heavy", "postgres": "not long"}
"""Tests over HTTP on PostgreSQL are heavy, all of them."""


def turns_red(
    path: str, planted: str, suite: Sequence[str], folder: Path, engine: str = "sqlite"
) -> None:
    """With the file as ``planted`` a test of the suite has to fail, on the one engine."""
    other = "sqlite" if engine == "postgres" else "postgres"
    copy = folder / "copy"
    for name in ("guilder", "migrations", "tests"):
        shutil.copytree(ROOT / name, copy / name)  # compiled as it is: that takes the longest
    shutil.copy2(ROOT / "pyproject.toml", copy)
    (copy / path).write_text(planted, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-m", TESTS[engine], "-k", f"not {other}", *suite], cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
