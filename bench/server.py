"""Servers under test as child processes: start, wait until healthy, stop."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.postgres import free_port

START_SECONDS = 60
STOP_SECONDS = 30


class ServerError(Exception):
    """A server did not start, or a command of its failed."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    base: str
    pid: int
    workers: int


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without settings meant for another Guilder, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUILDER_")}
    return kept | dict(extra)


def guilder_command() -> list[str]:
    """Return the `guilder` command that belongs to this Python."""
    beside = Path(sys.executable).with_name("guilder")
    if beside.exists():
        return [str(beside)]
    found = shutil.which("guilder")
    if found is None:
        raise ServerError("the guilder command is not installed")
    return [found]


def guilder_environment(url: str, data: Path) -> dict[str, str]:
    """Return the settings of the Guilder under test: a sandbox, all on but rate limits."""
    return clean_environment(
        {
            "GUILDER_DATABASE_URL": url,
            "GUILDER_DATA_DIR": str(data),
            "GUILDER_ENV": "sandbox",
            "GUILDER_RATE_LIMITS": "off",
            "GUILDER_MAIL_URL": "console:",
        }
    )


def run_guilder(url: str, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `guilder` command to its end."""
    command = [*guilder_command(), *arguments]
    environment = guilder_environment(url, data)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def running_guilder(url: str, data: Path, workers: int, log: Path) -> Iterator[Server]:
    """Run `guilder serve`."""
    port = free_port()
    command = [*guilder_command(), "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--no-jobs"]
    with _running(command, guilder_environment(url, data), port, workers, log) as server:
        yield server


@contextlib.contextmanager
def running_plain(url: str, workers: int, log: Path) -> Iterator[Server]:
    """Run the plain service under uvicorn with uvloop and httptools and without an access log."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "bench.plain_service:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += [
        "--workers",
        str(workers),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
    ]
    environment = clean_environment(
        {"PLAIN_DATABASE_URL": url, "PYTHONPATH": str(Path(__file__).parent.parent)}
    )
    with _running(command, environment, port, workers, log) as server:
        yield server


@contextlib.contextmanager
def _running(
    command: list[str], environment: dict[str, str], port: int, workers: int, log: Path
) -> Iterator[Server]:
    """Start a server, wait for its health, and stop it in the end."""
    base = f"http://127.0.0.1:{port}"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(base, process, log)
        yield Server(base, process.pid, workers)
    finally:
        _stop(process)


def _wait(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `/health` answers 200."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{base}/health", timeout=5).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise ServerError(f"the server did not start: {log.read_text(errors='replace')[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to stop; if it does not, end its whole session."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
