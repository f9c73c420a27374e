"""The wheel holds what an installation needs to start, and nothing else."""

import stat
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path
from subprocess import run

import pytest

from guilder import __version__
from tests.cli.serving import environment, serving
from tests.house.source import ROOT

BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as an index gets it."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-c", BUILD, folder], cwd=ROOT, check=True, capture_output=True)
    [found] = folder.glob("guilder-*.whl")
    return found


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = message_from_bytes(archive.read(name))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    urls = dict(line.split(", ", 1) for line in said.get_all("Project-URL", []))
    assert urls == project["urls"]
    assert (said["Name"], said["Version"]) == ("guilder", __version__)
    assert said["Summary"] == project["description"]
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Requires-Python"] == ">=3.12"
    assert said["Description-Content-Type"] == "text/markdown"
    readme = said.get_payload()
    assert isinstance(readme, str)
    assert readme.strip() == (ROOT / "README.md").read_text().strip()
    assert set(said.get_all("Provides-Extra", [])) == project["optional-dependencies"].keys()


@pytest.mark.heavy
def test_a_wheel_in_an_empty_environment_serves_the_demo(wheel: Path, tmp_path: Path) -> None:
    found = run([ROOT / "tools/setup", "--print-uv"], check=True, capture_output=True, text=True)
    uv, venv = found.stdout.strip(), str(tmp_path / "venv")
    run([uv, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", venv]
    locked = str(ROOT / "requirements/runtime.txt")
    run([*install, "--require-hashes", "--requirement", locked], check=True)
    run([*install, "--offline", "--no-deps", str(wheel)], check=True)
    home = tmp_path / "home"
    home.mkdir()
    values = environment(f"sqlite:///{home / 'data/guilder.db'}", home)
    python = tmp_path / "venv/bin/python"
    with serving(home, values, name="demo", python=python) as running:
        email, password = next(
            line.split() for line in running.log.read_text().splitlines() if line.startswith("  ")
        )
        login = running.client.post(
            f"{running.base}/auth/login", data={"username": email, "password": password}
        )
        assert login.status_code == 200
        assert running.get("/openapi.json").json()["info"]["version"] == __version__
        assert running.get("/docs").status_code == 200
        assert running.stop() == 0
    assert stat.S_IMODE((home / "data/guilder.db").stat().st_mode) == 0o600


def test_the_wheel_holds_package_and_migrations_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "guilder = guilder.__main__:app" in archive.read(entry_points).decode()
    tracked = [path.relative_to(ROOT).as_posix() for path in (ROOT / "guilder").rglob("*.py")]
    revisions = [path.name for path in (ROOT / "migrations" / "versions").glob("*.py")]
    assert revisions
    assert {f"guilder/migrations/versions/{name}" for name in revisions} <= names
    letters = [path.relative_to(ROOT).as_posix() for path in (ROOT / "guilder").rglob("*.jinja")]
    assert letters
    assert set(letters) <= names
    assert set(tracked) | {"guilder/py.typed", "guilder/migrations/env.py"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"guilder"}
