"""A server under attack: how it answers a health check meanwhile, and what memory it takes."""

import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

MB = 1_000_000


@dataclass
class Toll:
    """What an attack took: milliseconds of health checks, MB above idle, what was answered."""

    health_ms: list[float] = field(default_factory=list)
    memory_mb: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def median_ms(self) -> float:
        return median(self.health_ms)


def resident_mb(pid: int, what: str = "VmRSS") -> float:
    """Resident memory now, or with ``VmHWM`` the most since it was last forgotten."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / MB


def forget_peak(pid: int) -> None:
    """Begin to look for the most resident memory anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def ask(port: int, method: str, path: str, headers: Mapping[str, str], body: bytes) -> int:
    """The status of one request on a connection of its own; 0 when it was closed without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return 0
    finally:
        connection.close()


@contextmanager
def attackers(number: int, one: object) -> Iterator[None]:
    """So many threads that do it again and again until the block ends."""
    assert callable(one)
    stop = threading.Event()

    def again() -> None:
        while not stop.is_set():
            one()

    threads = [threading.Thread(target=again) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def health_checked(port: int, toll: Toll, seconds: float, *, least: int = 15) -> None:
    """Ask for the health every 20 ms for so long, and at least so often."""
    end = time.monotonic() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.monotonic() < end or len(toll.health_ms) < least:
        begun = time.perf_counter()
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        toll.health_ms.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.02)
    connection.close()
