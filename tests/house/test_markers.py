"""Markers are true: what counts as a unit test cannot leave the process."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.purity import NotPure, watched


def listen(_folder: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))


@pytest.mark.parametrize(
    "leave",
    [
        lambda _: subprocess.run([sys.executable, "-c", ""], check=False),
        lambda _: socket.create_connection(("127.0.0.1", 1)),
        listen,
        lambda folder: (folder / "new").write_text("x"),
        lambda folder: (folder / "new").mkdir(),
        lambda folder: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
    ],
    ids=["process", "connection", "server", "file", "folder", "descriptor"],
)
def test_a_unit_test_that_leaves_the_process_fails(
    leave: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(NotPure, match="mark the test as `integration`"), watched():
        leave(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_who_catches_it_is_found_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(NotPure), watched(), contextlib.suppress(Exception):
        (tmp_path / "new").mkdir()


def test_reading_is_no_way_out() -> None:
    with watched():
        assert Path(__file__).read_text()
