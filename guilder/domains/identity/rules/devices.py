"""Devices as plain values: what makes two sign-ins come from one, and how people call it."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

NETWORK_BITS: Final = 64
"""Of an IPv6 address: what a household or a phone is given, and changes within all day."""
UNKNOWN_DEVICE: Final = "an unknown device"

_VERSION: Final = re.compile(r"/[^\s;,()]*")
_NUMBER: Final = re.compile(r"[\d._]+")
_PROGRAMS: Final = (
    ("Edg", "Edge"), ("OPR", "Opera"), ("SamsungBrowser", "Samsung Internet"),
    ("Vivaldi", "Vivaldi"), ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"),
    ("Chromium", "Chromium"), ("Chrome", "Chrome"), ("Safari", "Safari"), ("curl", "curl"),
    ("python-", "A Python program"), ("okhttp", "An Android app"), ("Java", "A Java program"),
    ("Go-http-client", "A Go program"), ("node", "A Node.js program"),
)  # fmt: skip
"""By a mark in the User-Agent; the first that is there counts, since most claim to be others too"""
_SYSTEMS: Final = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"),
    ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClientDevice:
    """Where a sign-in comes from: a network, and the kind of client there.

    Two that are equal count as one device: another address of the same network is no other place,
    and an updated browser no other client.
    """

    network: str
    kind: str


def client_device(ip_address: str, device_info: str | None) -> ClientDevice:
    """The device at an address that says such a thing of itself."""
    kind = _NUMBER.sub("", _VERSION.sub("", device_info or ""))
    return ClientDevice(_network(ip_address), " ".join(kind.split()))


def device_name(device_info: str | None) -> str:
    """What people call it, such as ``Firefox on Linux``; never what the client chose to say."""
    text = device_info or ""
    program = next((name for mark, name in _PROGRAMS if mark in text), None)
    system = next((name for mark, name in _SYSTEMS if mark in text), None)
    if program is None:
        return system or UNKNOWN_DEVICE
    return program if system is None else f"{program} on {system}"


def _network(ip_address: str) -> str:
    try:
        address = ipaddress.ip_address(ip_address.partition("%")[0])
    except ValueError:
        return ip_address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), NETWORK_BITS), strict=False))
        address = address.ipv4_mapped
    return str(address)
