"""The secret key: made once however many processes ask, whole, and for its owner only."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from guilder.infra.secrets import KEY_FILE, derived_key, generated_key, secret_key
from guilder.infra.settings import BadSettings, Settings

RACER = """
import sys
from pathlib import Path
from guilder.infra.secrets import generated_key
sys.stdin.readline()
print(generated_key(Path(sys.argv[1])).decode())
"""


def test_the_key_of_the_settings_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    given = "ä" * 16
    settings = Settings(data_dir=tmp_path, secret_key=given)  # type: ignore[arg-type]
    assert secret_key(settings) == given.encode()
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    key = secret_key(settings)
    assert len(key) >= 32
    assert secret_key(settings) == key
    path = tmp_path / "keys" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == [KEY_FILE]


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    keys = {racer.communicate(timeout=60)[0] for racer in racers}
    assert len(keys) == 1
    assert keys == {generated_key(tmp_path / "keys").decode() + "\n"}
    assert [one.name for one in (tmp_path / "keys").iterdir()] == [KEY_FILE]


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"half a key")
    with pytest.raises(BadSettings, match="too short"):
        generated_key(tmp_path)


def test_keys_of_different_purposes_differ() -> None:
    assert len(derived_key(b"k" * 32, "one")) == 32
    assert derived_key(b"k" * 32, "one") == derived_key(b"k" * 32, "one")
    assert derived_key(b"k" * 32, "one") != derived_key(b"k" * 32, "two")
    assert derived_key(b"k" * 32, "one") != derived_key(b"j" * 32, "one")
