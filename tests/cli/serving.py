"""``guilder`` as a process: started, asked, stopped, and what it said."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from guilder.cli import app
from tests.support.waiting import LONG, wait_until


def environment(url: str, folder: Path, **settings: str) -> dict[str, str]:
    """Nothing of our own settings, and these; the collection of coverage goes along."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUILDER_")}
    values = {
        "DATABASE_URL": url,
        "DATA_DIR": str(folder / "data"),
        "LOG_FORMAT": "json",
    } | settings
    return kept | {f"GUILDER_{name}": value for name, value in values.items()}


def command(*arguments: str, python: str | Path = sys.executable) -> list[str]:
    return [str(python), "-P", "-m", "guilder", *arguments]


def run(
    folder: Path, values: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments),
        env=values,
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
        timeout=LONG,
    )


def guilder(url: str, folder: Path, *arguments: str, **settings: str) -> Result:
    """Run a command to its end in this process, which is quicker."""
    values = environment(url, folder, **settings)
    known = {name: value for name, value in values.items() if name.startswith("GUILDER_")}
    return CliRunner().invoke(app, arguments, env=known)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


@dataclass
class Running:
    """A server that has started."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    client: httpx.Client

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> httpx.Response:
        """Ask on a connection of its own, so that any worker may answer."""
        return self.client.get(self.base + path, headers={"connection": "close"})

    def lines(self) -> list[dict[str, Any]]:
        """What was logged, without what is not JSON."""
        raw = self.log.read_text().splitlines()
        return [json.loads(line) for line in raw if line.startswith("{")]

    def workers(self) -> set[int]:
        """The processes that serve, if there are several."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return {int(child) for child in children.split()}

    def answering(self) -> set[int]:
        """Which processes answer requests, seen from their log."""
        before = self.requests()
        for _ in range(40):
            self.get("/health/live")
        wait_until(lambda: self.requests() >= before + 40)
        return {line["process"] for line in self.lines() if line["event"] == "request"}

    def requests(self) -> int:
        """How many answers have been logged."""
        return sum(line["event"] == "request" for line in self.lines())

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """The exit status; a server that takes longer than ``STOP_SECONDS`` ends itself with 1."""
        self.process.send_signal(sig)
        return self.process.wait(LONG)


@contextmanager
def serving(
    folder: Path,
    values: Mapping[str, str],
    *arguments: str,
    name: str = "serve",
    log: str = "",
    python: str | Path = sys.executable,
) -> Iterator[Running]:
    """A server until the end of the block, whatever happens there."""
    port, path = free_port(), folder / (log or f"{name}.log")
    with path.open("ab") as output:
        process = subprocess.Popen(
            command(name, "--port", str(port), *arguments, python=python),
            env=values,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        with httpx.Client(timeout=LONG) as client:
            running = Running(process, port, path, client)
            _wait(running)
            yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(running: Running) -> None:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            if running.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{running.log.read_text()[-3000:]}")
