"""Origins of web pages (RFC 6454) and networks: who may call, and who is believed."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import idna

type Network = IPv4Network | IPv6Network

ANY_ORIGIN: Final = "*"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_LABEL: Final = 63


def networks_of(text: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas. Raises ``ValueError``, also for everybody's."""
    try:
        networks = tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError(
            "must be addresses or networks such as 10.0.0.0/8, separated by commas"
        ) from None
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("must not be everybody: then any client could give any address")
    return networks


def origins_of(text: str) -> tuple[str, ...]:
    """Origins, separated by commas. Raises ``ValueError``."""
    try:
        return tuple(dict.fromkeys(origin_of(part.strip()) for part in text.split(",")))
    except ValueError:
        raise ValueError(
            "must be origins such as https://app.example.com, separated by commas"
        ) from None


def origin_of(text: str) -> str:
    """An origin as browsers send it: scheme, host and a port that is not the scheme's own.

    The host is in A-labels of IDNA 2008, as browsers have it: ``faß.test`` is not ``fass.test``.
    Raises ``ValueError`` for what has more to it (a path, a user, a wildcard) or less.
    """
    if text == ANY_ORIGIN:
        return ANY_ORIGIN
    parts = urlsplit(text)
    host = parts.hostname or ""
    if not host.isascii():
        host = idna.encode(host, uts46=True).decode("ascii")
    too_long = any(len(label) > _LONGEST_LABEL for label in host.split("."))
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _DEFAULT_PORTS or not host or extra or too_long or "*" in host:
        raise ValueError("not an origin")
    shown = f"[{host}]" if ":" in host else host
    port = parts.port
    if port is None or port == _DEFAULT_PORTS[parts.scheme]:
        return f"{parts.scheme}://{shown}"
    return f"{parts.scheme}://{shown}:{port}"


def is_safe(address: str) -> bool:
    """Whether nobody on the way can read along: HTTPS, or a host that is this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
