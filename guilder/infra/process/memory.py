"""How this process takes memory from the system."""

import ctypes
import os
from typing import Final

_M_ARENA_MAX: Final = -8


def share_one_heap() -> None:
    """Let all threads take memory from one heap, where the C library is glibc.

    It gives each a heap of its own otherwise, and what one has freed no other can use. Call it
    before there are threads.
    """
    if os.name == "posix" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)
