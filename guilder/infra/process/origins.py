"""Origins of web pages (RFC 6454) and networks: who may call, and who is believed."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import idna
from pydantic import AnyHttpUrl

type Network = IPv4Network | IPv6Network

ANY_ORIGIN: Final = "*"
_HOST: Final = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
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


def shown_host(host: str) -> str:
    """The host by which people reach what listens on an address: all and loopback are localhost.

    Browsers take passkeys of ``localhost``, and of no IP address.
    """
    here = host in {"0.0.0.0", "::"} or is_loopback(host)  # noqa: S104 - compared
    return "localhost" if here else host


def is_ip_address(host: str) -> bool:
    """Whether it is an address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def without_path(url: AnyHttpUrl | None) -> AnyHttpUrl | None:
    """The address as it is. Raises ``ValueError`` for one with a path, a query or a fragment."""
    if url is not None and ((url.path or "").strip("/") or url.query or url.fragment):
        raise ValueError("must be an address without a path: https://bank.example.com")
    return url


def passkey_host_of(host: str) -> str:
    """The name that passkeys belong to, as browsers write it; empty stays empty.

    Raises ``ValueError``.
    """
    if not host:
        return host
    name = host.strip().lower().encode("idna").decode("ascii")
    if is_ip_address(name) or not _HOST.fullmatch(name):
        raise ValueError("must be a host name such as example.com, without scheme and port")
    return name


def passkey_party(address: str, host: str, origins: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The host that passkeys belong to and the origins that may use them, defaults worked out."""
    own = urlsplit(address)._replace(path="").geturl()
    name = shown_host(urlsplit(address).hostname or "")
    if not origins:
        port = urlsplit(address).port
        at_port = "" if port is None else f":{port}"
        loopback = name == "localhost"
        origins = (origin_of(f"http://{name}{at_port}" if loopback else own),)
    return host or name, origins


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
