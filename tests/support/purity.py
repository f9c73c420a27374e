"""What a unit test may not do, told by the interpreter itself: nothing leaves the process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OUTSIDE = frozenset((
    "subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec",
    "socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo",
    "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.kill",
))  # fmt: skip
"""Audit events of the standard library."""
OWN_FILES = ("__pycache__", ".hypothesis")
"""Where Python and Hypothesis write for themselves."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class NotPure(Exception):
    """A test that counts as a unit test does what none may."""


_watches: list[list[NotPure]] = []
"""What the blocks that are open have seen; nobody looks while there is none."""


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches or not _leaves(event, arguments):
        return
    found = NotPure(f"{event}{arguments}: mark the test as `integration`")
    _watches[-1].append(found)
    raise found


def _leaves(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int):  # a descriptor, whose own opening was looked at
            return False
        return bool(flags & _WRITING) and not any(own in str(path) for own in OWN_FILES)
    return event in OUTSIDE and not any(own in str(arguments) for own in OWN_FILES)


@contextmanager
def watched() -> Iterator[None]:
    """Raises ``NotPure`` where something leaves the process, and at the end if that was caught."""
    seen: list[NotPure] = []
    _watches.append(seen)
    try:
        yield
    finally:
        _watches.remove(seen)
    if seen:
        raise seen[0]


sys.addaudithook(_look)
