"""What a unit test may not do, told by the interpreter itself: nothing leaves the process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OUTSIDE = frozenset((
    "subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec",
    "socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo", "sqlite3.connect",
    "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.kill",
))  # fmt: skip
"""Audit events of the standard library."""
OWN_FILES = ("__pycache__", ".hypothesis")
"""Where Python and Hypothesis write for themselves."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class NotPure(Exception):
    """A test that counts as a unit test does what none may."""


class _Watch:
    on = False


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if not _Watch.on:
        return
    if event == "open":
        path, _, flags = arguments
        outside = flags & _WRITING and not any(own in str(path) for own in OWN_FILES)
    else:
        outside = event in OUTSIDE and not any(own in str(arguments) for own in OWN_FILES)
    if outside:
        raise NotPure(f"{event}{arguments}: mark the test as `integration`")


@contextmanager
def watched() -> Iterator[None]:
    """Raise ``NotPure`` where something in this block would leave the process."""
    _Watch.on = True
    try:
        yield
    finally:
        _Watch.on = False


sys.addaudithook(_look)
