"""Devices: what counts as one, and how people call it."""

import pytest

from guilder.domains.identity.rules.devices import UNKNOWN_DEVICE, client_device, device_name

CHROME = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{0}.0.0.0 Mobile Safari/537.36"
)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS {0}_1_2 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/{0}.1 Mobile/15E{0} Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{0}.0.0.0 Safari/537.36 Edg/{0}.0.2903.70"
)
MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/{0}.0 Safari/605.1.15"
)


@pytest.mark.parametrize("agent", [CHROME, SAFARI, EDGE, MAC, "bank-app/{0} (build {0}1)"])
def test_an_update_is_no_new_device(agent: str) -> None:
    first, updated = (client_device("192.0.2.1", agent.format(version)) for version in (130, 131))
    assert first == updated


def test_other_programs_are_other_devices() -> None:
    found = {client_device("192.0.2.1", agent) for agent in (CHROME, SAFARI, EDGE, MAC, "x", None)}
    assert len(found) == 6


def test_what_is_no_address_is_compared_as_it_stands() -> None:
    assert client_device("testclient", None).network == "testclient"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (CHROME, "Chrome on Android"),
        (SAFARI, "Safari on iPhone"),
        (EDGE, "Edge on Windows"),
        (MAC, "Safari on macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:1) Gecko/1 Firefox/1", "Firefox on Linux"),
        ("python-httpx/0.28", "A Python program"),
        ("Dalvik/2.1.0 (Linux; U; Android 14)", "Android"),
        ("Buy now at evil.example", UNKNOWN_DEVICE),
        (None, UNKNOWN_DEVICE),
    ],
)
def test_a_device_has_a_name_that_nobody_chose(agent: str | None, name: str) -> None:
    assert device_name(agent) == name
