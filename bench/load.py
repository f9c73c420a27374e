"""Load by wrk: run one script for some seconds and read its report.

wrk is a C client that keeps every connection busy (a closed loop: the next request leaves when the
answer is there), so rate and latency belong together. It shares the cores with the server and the
database, and is so counted in.
"""

import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "wrk"
TRANSFERS = "/api/v1/transfers"
BATCHES = "/api/v1/transfers/batches"
ACCOUNTS = "/api/v1/accounts"


class LoadError(Exception):
    """wrk is missing or said something that cannot be read."""


@dataclass(frozen=True)
class Load:
    """What wrk sends."""

    script: str
    connections: int
    path: str
    batch: int = 0
    hot: bool = False


@dataclass(frozen=True)
class Run:
    """What wrk saw in one run; `items` are requests, or transfers for a bulk load."""

    requests: int
    items: int
    seconds: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    bytes: int
    status_errors: int
    content_errors: int
    socket_errors: int
    timeouts: int

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds

    @property
    def errors(self) -> int:
        """Everything that was not the expected answer."""
        return self.status_errors + self.content_errors + self.socket_errors + self.timeouts


def wrk_version() -> str | None:
    """Return wrk's version, or nothing if it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        return None
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stdout
    return said.split("Copyright")[0].removeprefix("wrk").strip() or "unknown"


def single(connections: int, *, hot: bool = False) -> Load:
    """One transfer a request."""
    return Load("single.lua", connections, TRANSFERS, hot=hot)


def bulk(batch: int, *, connections: int = 4, hot: bool = False) -> Load:
    """Many transfers a request."""
    return Load("bulk.lua", connections, BATCHES, batch=batch, hot=hot)


def read(path: str, connections: int = 16) -> Load:
    """A GET; `{account}` stands for a random account."""
    return Load("read.lua", connections, path)


def opening(connections: int) -> Load:
    """One account opened a request."""
    return Load("open.lua", connections, ACCOUNTS)


def run_wrk(
    base: str, load: Load, data: Path, seconds: int, *, threads: int = 1, description: str = ""
) -> Run:
    """Send a load for some seconds; accounts and tokens are read from files in `data`."""
    program = shutil.which("wrk")
    if program is None:
        raise LoadError("wrk is not installed (Debian: apt-get install wrk)")
    environment = os.environ | {
        "BENCH_SCRIPTS": str(SCRIPTS),
        "BENCH_DATA": str(data),
        "BENCH_RUN": secrets.token_hex(3),
        "BENCH_PATH": load.path,
        "BENCH_BATCH": str(load.batch),
        "BENCH_HOT": "1" if load.hot else "0",
        "BENCH_DESCRIPTION": description,
    }
    command = [
        program,
        "-t",
        str(min(threads, load.connections)),
        "-c",
        str(load.connections),
        "-d",
        f"{seconds}s",
    ]
    command += ["--timeout", "10s", "-s", str(SCRIPTS / load.script), base]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("BENCH "):
            return Run(**json.loads(line.removeprefix("BENCH ")))
    raise LoadError(f"wrk gave no report: {done.stdout[-500:]} {done.stderr[-500:]}")
