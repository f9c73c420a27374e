"""A log that cannot be written costs its lines and nothing else."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.serving import Running, command, environment, free_port
from tests.support.constants import ADA
from tests.support.waiting import LONG, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.heavy]


@contextmanager
def logging_to(descriptor: int, values: dict[str, str], folder: Path) -> Iterator[Running]:
    """A server with one worker whose standard error is a descriptor, once it is ready."""
    port = free_port()
    process = subprocess.Popen(
        command("serve", "--port", str(port)), env=values, cwd=folder, stderr=descriptor
    )
    try:
        with httpx.Client(timeout=LONG) as client:
            running = Running(process, port, folder / "none", client)
            wait_until(lambda: process.poll() is not None or ready(running))
            assert process.poll() is None
            yield running
            assert running.stop() == 0
    finally:
        process.kill()
        process.wait()


def ready(running: Running) -> bool:
    try:
        return running.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def works(running: Running) -> None:
    """Many requests are answered, more than any pipe has room for lines; jobs run, too."""
    for _ in range(600):
        assert running.client.get(running.base + "/health/live").status_code == 200
    assert running.get("/health").status_code == 200
    assert httpx.post(f"{running.base}/auth/signup", json=ADA, timeout=LONG).status_code == 201


@pytest.fixture
def values(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(sqlite_url, tmp_path)


def test_a_full_log_does_not_stop_the_bank(values: dict[str, str], tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with logging_to(full, values, tmp_path) as running:
        works(running)
        metrics = running.get("/metrics").text.splitlines()
        (lost,) = [line for line in metrics if line.startswith("guilder_log_lost_lines_total ")]
        assert float(lost.split()[1]) > 600
    os.close(full)


def test_a_log_that_nobody_reads_any_more_does_not_stop_the_bank(
    values: dict[str, str], tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    with logging_to(writing, values, tmp_path) as running:
        os.close(reading)
        works(running)
    os.close(writing)


def test_a_reader_that_stops_reading_does_not_hold_the_bank_up(
    values: dict[str, str], tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    with logging_to(writing, values, tmp_path) as running:
        works(running)
    os.close(reading)
    os.close(writing)
