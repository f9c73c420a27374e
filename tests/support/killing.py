"""SIGKILL for a whole PostgreSQL server: the postmaster and every child, by their ids.

Backends outlive a killed postmaster until they next look up from their work, and could commit in
the meantime. So the postmaster is stopped first, which keeps it from forking, and nothing is left
alive when ``kill_server`` returns.
"""

import os
import signal
from pathlib import Path

from tests.support.postgres import Server
from tests.support.waiting import wait_until


def kill_server(server: Server) -> int:
    """Kill the server; gives the number of processes that died."""
    postmaster = server.pid
    os.kill(postmaster, signal.SIGSTOP)
    doomed = [*children(postmaster), postmaster]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(_alive(pid) for pid in doomed))
    # Nobody is alive to hold these. Where nobody reaps orphans a dead postmaster keeps its id for
    # a while, and a new one would take it for a rival.
    for lock in ("postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432"):
        (server.folder / lock).unlink(missing_ok=True)
    return len(doomed)


def shut_down(server: Server) -> None:
    """The fast shutdown that an operator asks for: every session is ended at once."""
    postmaster = server.pid
    os.kill(postmaster, signal.SIGINT)
    wait_until(lambda: not _alive(postmaster))


def children(parent: int) -> list[int]:
    """Process ids whose parent is ``parent``."""
    return [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and _parent_of(folder) == parent
    ]


def _parent_of(folder: Path) -> int:
    fields = _stat(folder)
    return int(fields[1]) if fields else 0


def _alive(pid: int) -> bool:
    fields = _stat(Path("/proc") / str(pid))
    return bool(fields) and fields[0] != "Z"


def _stat(folder: Path) -> list[str]:
    """State, parent and the rest; empty when the process has gone."""
    try:
        text = (folder / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rsplit(")", 1)[1].split()
