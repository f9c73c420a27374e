"""Metrics of several workers are mapped from files: their room is taken, or they go without."""

import errno
import os
from pathlib import Path

import pytest

from guilder.infra.process.telemetry import ROOM_BYTES, reserve_room


def test_the_room_of_metrics_is_taken_on_the_disk(tmp_path: Path) -> None:
    """Of a file with holes each page is taken when it is first written, if there is one."""
    assert reserve_room(tmp_path, 77)
    files = {path.name: path.stat() for path in tmp_path.iterdir()}
    assert set(files) == {
        "counter_77.db", "histogram_77.db", "gauge_livesum_77.db", "gauge_livemostrecent_77.db",
    }  # fmt: skip
    for found in files.values():
        assert found.st_size == ROOM_BYTES
        assert found.st_blocks * 512 >= ROOM_BYTES


def test_where_there_is_no_room_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def full(descriptor: int, offset: int, length: int) -> None:
        taken.append(length)
        if len(taken) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.truncate(descriptor, offset + length)

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert not reserve_room(tmp_path, 77)
    assert list(tmp_path.iterdir()) == []
