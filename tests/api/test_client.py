"""From which address a request comes: what proxies say, and what clients would like to say."""

from ipaddress import ip_network

import pytest

from guilder.api.client import FORWARDED, address_key, client_address

OURS = tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8", "127.0.0.1")))
ADA, EVE, PROXY, OUTER = "203.0.113.7", "198.51.100.9", "10.1.2.3", "10.9.9.9"


def address(peer: str, *forwarded: str) -> str:
    return client_address(peer, [(FORWARDED, line.encode("latin-1")) for line in forwarded], OURS)


@pytest.mark.parametrize("peer", [ADA, "2001:db8::1", "", "testclient", "unix:"])
@pytest.mark.parametrize("line", [EVE, f"{EVE}, {PROXY}", "", "junk"])
def test_a_stranger_speaks_for_nobody_else(peer: str, line: str) -> None:
    assert address(peer, line) == peer
    assert client_address(peer, [(FORWARDED, line.encode())], ()) == peer


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], PROXY),
        ([""], PROXY),
        ([ADA], ADA),
        ([f" {ADA}\t"], ADA),
        ([f"{EVE}, {ADA}"], ADA),
        ([f"{EVE},{ADA},{OUTER}"], ADA),
        ([f"{EVE}, {OUTER}, {ADA}, {OUTER}, {PROXY}"], ADA),
        ([EVE, ADA], ADA),
        ([f"{EVE}, {ADA}", OUTER], ADA),
        ([f"{EVE}, junk"], PROXY),
        ([f"{EVE}, junk, {OUTER}"], OUTER),
        ([f"{EVE}, "], PROXY),
        ([f"{EVE}, unknown"], PROXY),
        ([f"{EVE}, {'1' * 70}"], PROXY),
        ([f"{EVE}, \xb2\xb3"], PROXY),
        ([f"{OUTER}, {PROXY}"], OUTER),
        ([f"{ADA}:4711"], ADA),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:DB8:0::1]:4711"], "2001:db8::1"),
        (["[2001:db8::1%eth0]:4711"], "2001:db8::1"),
        ([f"::ffff:{ADA}"], ADA),
        ([f"{ADA}, fd00::1"], ADA),
        ([f"{ADA}, ::ffff:10.0.0.1"], ADA),
    ],
)
def test_a_proxy_is_believed_up_to_the_last_address_that_is_none_of_ours(
    lines: list[str], found: str
) -> None:
    assert address(PROXY, *lines) == found
    assert address(f"::ffff:{PROXY}", *lines) == found


def test_a_client_cannot_hide_behind_addresses_that_it_invents() -> None:
    for invented in (EVE, PROXY, "127.0.0.1", "::1", "junk", f"{OUTER}, " * 500 + OUTER):
        assert address(PROXY, f"{invented}, {ADA}") == ADA


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (ADA, ADA),
        (f"::ffff:{ADA}", ADA),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::6", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_whole_site_of_version_6_is_one_client(given: str, key: str) -> None:
    assert address_key(given) == key
