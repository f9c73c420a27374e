"""From which address a request comes, when it may have come through proxies."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Final

type Address = IPv4Address | IPv6Address
type TrustedNetwork = IPv4Network | IPv6Network

FORWARDED: Final = b"x-forwarded-for"
MAX_HOP_LENGTH: Final = 64
SITE_BITS: Final = 64
"""Of a version 6 address: what one customer of a provider has at least, with any host in it."""


def client_address(
    peer: str, headers: Sequence[tuple[bytes, bytes]], trusted: Sequence[TrustedNetwork]
) -> str:
    """The address of the client whose request arrived from ``peer``.

    A hop of ``X-Forwarded-For`` is believed only when a trusted proxy wrote it, so the list is read
    from its end up to the first address that is not a proxy's; what stands before that may be
    invented. A hop that is not an address ends the reading.
    """
    known = read_address(peer)
    if known is None or not _is_in(known, trusted):
        return peer
    hops = b",".join(value for name, value in headers if name == FORWARDED).split(b",")
    for hop in reversed(hops):
        address = _read_hop(hop)
        if address is None:
            break
        known = address
        if not _is_in(address, trusted):
            break
    return str(known)


def is_trusted(address: str, trusted: Sequence[TrustedNetwork]) -> bool:
    """Whether an address is that of a proxy which speaks for many clients."""
    known = read_address(address)
    return known is not None and _is_in(known, trusted)


@lru_cache(4096)
def address_key(address: str) -> str:
    """What one client cannot change at will: the address, or the site of a version 6 one."""
    known = read_address(address)
    if isinstance(known, IPv6Address):
        return str(IPv6Network((known, SITE_BITS), strict=False))
    return address[:MAX_HOP_LENGTH] if known is None else str(known)


def read_address(text: str) -> Address | None:
    """An address without its zone, a version 4 one inside version 6 as itself; None for others."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _read_hop(hop: bytes) -> Address | None:
    """A hop as proxies write it: with or without a port, version 6 in brackets or not."""
    text = hop.strip().decode("latin-1")
    if len(text) > MAX_HOP_LENGTH:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return read_address(text)


def _is_in(address: Address, networks: Sequence[TrustedNetwork]) -> bool:
    return any(address in network for network in networks)
