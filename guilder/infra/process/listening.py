"""Listening sockets: where they are, and closed without cutting off who has come."""

import contextlib
import ctypes
import re
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final

_ENDPOINT: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT: Final = 65_535
_ATTACH_FILTER: Final = 26
_DETACH_FILTER: Final = 27
_DROP_ALL: Final = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A program of the kernel's packet filter: return 0, which is to keep nothing of a packet."""


def endpoint_of(text: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9100`` or ``[::1]:9100``. Raises ``ValueError``."""
    found = _ENDPOINT.fullmatch(text)
    if found is None or int(found["port"]) > _HIGHEST_PORT:
        raise ValueError("must be host and port, such as 127.0.0.1:9100")
    return found["host"].strip("[]"), int(found["port"])


def refuse_another(sockets: Iterable[socket.socket]) -> None:
    """Have the system refuse to bind these bound sockets' address once more, as if they listened.

    Two that may be reused can both be bound as long as neither listens; the second to listen then
    fails, or shares the address where both may be shared.
    """
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def allow_past_connections(sockets: Iterable[socket.socket]) -> None:
    """Take back ``refuse_another`` just before listening, which refuses others by itself.

    Connections have the option of the socket that accepted them, and after a stop those that are
    not over yet would be in the next start's way.
    """
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def let_nobody_in(sockets: Iterable[socket.socket]) -> None:
    """Have the system drop requests to connect; whoever is connected can still be accepted.

    A socket that is closed with connections in its queue resets them. Their clients have connected
    and do not know whether they were heard; who comes now tries again and is refused. Other systems
    than Linux are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    program = ctypes.create_string_buffer(_DROP_ALL)
    described = struct.pack("HL", 1, ctypes.addressof(program))
    for one in sockets:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, described)


def let_in_again(sockets: Iterable[socket.socket]) -> None:
    """Take back ``let_nobody_in``, which lasts as long as the socket, in whichever process."""
    for one in sockets:
        with contextlib.suppress(OSError):  # there was none
            one.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
