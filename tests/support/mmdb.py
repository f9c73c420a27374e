"""Writes a database of places in MaxMind's format (version 2.0), as small as can be."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

MARKER = b"\xab\xcd\xefMaxMind.com"
BUILT = 1_760_000_000


class Number(NamedTuple):
    """An unsigned integer of one of the format's kinds; of 16 bits unless told."""

    value: int
    kind: int = 5
    size: int = 2


def write_places(path: Path, places: Mapping[str, Any]) -> Path:
    """A file that gives each network its record; IPv4 lies in ::/96, as the format has it."""
    nodes: list[list[int | None]] = [[None, None]]
    leaves: list[tuple[int, int, bytes]] = []
    for network, record in places.items():
        bits = _bits(network)
        node = 0
        for bit in bits[:-1]:
            below = nodes[node][bit]
            if below is None:
                nodes.append([None, None])
                below = nodes[node][bit] = len(nodes) - 1
            node = below
        leaves.append((node, bits[-1], _encoded(record)))
    data = bytearray()
    for node, bit, record in leaves:
        nodes[node][bit] = len(nodes) + 16 + len(data)
        data += record
    tree = b"".join((len(nodes) if to is None else to).to_bytes(3) for node in nodes for to in node)
    metadata = {
        "node_count": Number(len(nodes), 6, 4), "record_size": Number(24), "languages": ["en"],
        "ip_version": Number(6), "database_type": "Test-City", "description": {"en": "Test"},
        "binary_format_major_version": Number(2), "binary_format_minor_version": Number(0),
        "build_epoch": Number(BUILT, 9, 8),
    }  # fmt: skip
    path.write_bytes(tree + bytes(16) + bytes(data) + MARKER + _encoded(metadata))
    return path


def _bits(network: str) -> list[int]:
    given = ip_network(network)
    length = given.prefixlen + (96 if given.version == 4 else 0)
    return [int(bit) for bit in f"{int(given.network_address):0128b}"[:length]]


def _encoded(value: Any) -> bytes:
    match value:
        case str():
            return _control(2, len(value.encode())) + value.encode()
        case Number():
            return _control(value.kind, value.size) + value.value.to_bytes(value.size)
        case dict():
            pairs = (_encoded(key) + _encoded(one) for key, one in value.items())
            return _control(7, len(value)) + b"".join(pairs)
        case list():
            return _control(11, len(value)) + b"".join(map(_encoded, value))
    raise TypeError(value)


def _control(kind: int, size: int) -> bytes:
    assert size < 29 + 256
    first, rest = (size, b"") if size < 29 else (29, bytes([size - 29]))
    if kind > 7:
        return bytes([first, kind - 7]) + rest
    return bytes([kind << 5 | first]) + rest
