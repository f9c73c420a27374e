"""Who used the cores during a run: server, database, load generator (1.0 is one core busy).

`others` is what the rest of the machine used and what a hypervisor took away: much of it, and the
figure says little.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

TICKS = os.sysconf("SC_CLK_TCK")


def _times() -> dict[int, tuple[int, float]]:
    """Return parent and processor time (ended children included) of every process, from /proc."""
    found: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            found[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICKS)
    return found


def _seconds(root: int) -> float:
    """Sum the processor time of a process and all its descendants."""
    times = _times()
    family = {root}
    grown = True
    while grown:
        more = {pid for pid, (parent, _) in times.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(times[pid][1] for pid in family if pid in times)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine() -> float:
    """Return the time in which any core was busy, stolen time included, from /proc/stat."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("cpu "):
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) / TICKS
    return 0.0


@contextmanager
def cores_used(watched: dict[str, int]) -> Iterator[dict[str, float]]:
    """Fill in the cores each process tree used, `load` for wrk and `others` for the rest."""
    found: dict[str, float] = {}
    before = {name: _seconds(pid) for name, pid in watched.items()}
    load, machine, start = _children(), _machine(), time.monotonic()
    yield found
    passed = time.monotonic() - start
    everything = (_machine() - machine) / passed
    found |= {name: (_seconds(pid) - before[name]) / passed for name, pid in watched.items()}
    found["load"] = (_children() - load) / passed
    found["others"] = max(0.0, everything - sum(found.values()))
    for name, value in found.items():
        found[name] = round(value, 2)


def middle_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each process tree over some runs."""
    return {name: median(run[name] for run in runs) for name in runs[0]} if runs else {}
