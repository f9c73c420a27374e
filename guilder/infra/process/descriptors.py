"""How many files and connections this process may have open, and how many it has."""

import os
import resource
from typing import Final

RESERVED: Final = 64
"""Descriptors that are kept for the database, for files and for what is begun already."""
_OPEN: Final = "/proc/self/fd"


def raise_limit() -> None:
    """Allow ourselves as many descriptors as the system allows us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_descriptors() -> int:
    """The most that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def most_connections() -> int:
    """How many clients are let in, so that some descriptors are left for the work itself."""
    most = most_descriptors()
    return most - min(RESERVED, most // 4)


def open_descriptors() -> int | None:
    """How many are open, None where the system does not tell."""
    try:
        return len(os.listdir(_OPEN))
    except OSError:
        return None
