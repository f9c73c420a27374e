"""Facts about the machine and the programs, so that a figure can be judged."""

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.load import wrk_version

PACKAGES = (
    "guilder",
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "sqlalchemy",
    "asyncpg",
    "aiosqlite",
)
MEMORY_FILESYSTEMS = {"tmpfs", "ramfs"}


def cpu_model() -> str:
    """Return the processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def filesystem(folder: Path) -> str:
    """Return the type of the file system a folder lies on, such as ext4."""
    done = subprocess.run(
        ["stat", "-f", "-c", "%T", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def is_memory(folder: Path) -> bool:
    """Tell whether a folder lies in memory, where flushing to disk costs nothing."""
    return filesystem(folder) in MEMORY_FILESYSTEMS


def flush_milliseconds(folder: Path, times: int = 200) -> float:
    """Measure what writing 8 KiB and flushing it to disk takes (median)."""
    path = folder / "flush"
    block = os.urandom(8192)
    taken = []
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for number in range(times):
            start = time.perf_counter()
            os.pwrite(handle, block, number * len(block))
            os.fdatasync(handle)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(handle)
        path.unlink()
    return round(median(taken) * 1000, 3)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def facts(folder: Path) -> dict[str, Any]:
    """Collect the facts."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "filesystem": filesystem(folder),
        "flush_8k_ms": flush_milliseconds(folder),
        "python": platform.python_version(),
        "wrk": wrk_version() or "not installed",
        "packages": {package: _version(package) for package in PACKAGES},
    }
