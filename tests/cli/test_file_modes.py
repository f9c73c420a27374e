"""What ``guilder`` makes is its owner's alone, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from guilder.db.sqlite_files import SUFFIXES
from guilder.db.write_queue import QUEUE_SUFFIXES
from tests.cli.serving import environment, run, serving

pytestmark = pytest.mark.integration


_ANY = [
    0o000,
    pytest.param(0o022, marks=pytest.mark.heavy),
    pytest.param(0o077, marks=pytest.mark.heavy),
]


@pytest.fixture(params=_ANY, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """The mode of the folder and of all in it, but for the metrics of the library's making."""
    found = [folder, *folder.rglob("*")]
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in found
        if "metrics-" not in str(path)
    }


@pytest.mark.heavy
def test_the_data_folder_is_for_its_owner_only(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "some" / "data"
    values = environment("", tmp_path, DATA_DIR=str(folder))
    with serving(tmp_path, values, "--workers", "2") as running:
        assert running.get("/health").status_code == 200
        found = modes(folder)
    wanted = {".": "0o700", "keys": "0o700", "run": "0o700"}
    database = [f"guilder.db{end}" for end in (*SUFFIXES, *QUEUE_SUFFIXES)]
    files = (*database, "databases", "keys/secret_key", "keys/encryption_key")
    wanted |= dict.fromkeys(files, "0o600")
    assert found == wanted
    assert oct(stat.S_IMODE((tmp_path / "some").stat().st_mode)) == "0o700"


def test_a_database_elsewhere_is_its_owners_too(tmp_path: Path, umask: int) -> None:
    file = tmp_path / "elsewhere" / "bank.db"
    assert run(tmp_path, environment(f"sqlite:///{file}", tmp_path), "migrate").returncode == 0
    assert modes(file.parent) == {".": "0o700", "bank.db": "0o600"}
