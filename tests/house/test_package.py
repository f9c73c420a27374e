"""The wheel holds what an installation needs to start, and nothing else."""

import sys
import zipfile
from pathlib import Path
from subprocess import run

from tests.house.source import ROOT

BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"


def test_the_wheel_holds_package_and_migrations_only(tmp_path: Path) -> None:
    run([sys.executable, "-c", BUILD, tmp_path], cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("guilder-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "guilder = guilder.cli:app" in archive.read(entry_points).decode()
    tracked = [path.relative_to(ROOT).as_posix() for path in (ROOT / "guilder").rglob("*.py")]
    revisions = [path.name for path in (ROOT / "migrations" / "versions").glob("*.py")]
    assert revisions
    assert {f"guilder/migrations/versions/{name}" for name in revisions} <= names
    letters = [path.relative_to(ROOT).as_posix() for path in (ROOT / "guilder").rglob("*.jinja")]
    assert letters
    assert set(letters) <= names
    assert set(tracked) | {"guilder/py.typed", "guilder/migrations/env.py"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"guilder"}
