"""Places of addresses: from a small database in MaxMind's own format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guilder.infra.process.settings import InvalidSettings, load_settings
from guilder.infra.security.geoip import MAX_PLACE_LENGTH, GeoIpDatabase, no_place
from tests.support.mmdb import Number, write_places


def record(city: str | None = None, country: str | None = None) -> dict[str, Any]:
    """As GeoLite2-City has them, in the parts that are read."""
    parts = {"city": city, "country": country}
    return {
        part: {"geoname_id": Number(1), "names": {"de": "x", "en": name}}
        for part, name in parts.items()
        if name is not None
    }


PLACES = {
    "203.0.112.0/24": record("Hidden", "Nowhere"),
    "77.160.0.0/16": record("Amsterdam", "Netherlands"),
    "80.0.0.0/8": record(country="United Kingdom"),
    "81.0.0.0/8": record("Atlantis"),
    "82.0.0.0/8": {},
    "83.0.0.0/8": {"city": {"names": {"de": "Köln"}}, "country": "DE"},
    "84.0.0.0/8": {"asn": Number(7)},
    "85.0.0.0/8": record("Rot\u202eter\u0007dam\n", "Netherlands"),
    "86.0.0.0/8": record("L" * 220),
    "10.0.0.0/8": record("Intranet", "Nowhere"),
    "2a02:a400::/24": record("Utrecht", "Netherlands"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_places(tmp_path / "places.mmdb", PLACES)


@pytest.fixture
def places(path: Path) -> Iterator[GeoIpDatabase]:
    made = GeoIpDatabase(path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("77.160.4.5", "Amsterdam, Netherlands"),
        ("77.161.4.5", None),
        ("80.1.2.3", "United Kingdom"),
        ("81.1.2.3", "Atlantis"),
        ("82.1.2.3", None),
        ("83.1.2.3", None),
        ("84.1.2.3", None),
        ("85.1.2.3", "Rotterdam, Netherlands"),
        ("86.1.2.3", "L" * MAX_PLACE_LENGTH),
        ("2a02:a400:1::1", "Utrecht, Netherlands"),
        ("2a03::1", None),
        ("10.1.2.3", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("", None),
        ("testclient", None),
    ],
)
def test_an_address_has_the_place_of_its_network(
    places: GeoIpDatabase, address: str, place: str | None
) -> None:
    assert places.place_of(address) == place
    assert no_place(address) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "cannot be read"),
        (b"this is no database", "cannot be read"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_refused_by_name_of_the_setting(
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: bytes | None,
    message: str,
) -> None:
    path = tmp_path / "secret-place.mmdb"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("GUILDER_GEOIP_DATABASE", str(path))
    with pytest.raises(InvalidSettings, match=f"GUILDER_GEOIP_DATABASE: .*{message}"):
        load_settings()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        GeoIpDatabase(tmp_path)


def test_a_sound_file_is_taken(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.setenv("GUILDER_GEOIP_DATABASE", str(path))
    assert load_settings().geoip_database == path


def test_a_file_that_is_broken_inside_costs_the_place_and_not_the_sign_in(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Found only when that place is looked up: the data of Amsterdam are overwritten."""
    whole = path.read_bytes()
    at = whole.index(b"Amsterdam") - 1
    path.write_bytes(whole[:at] + b"\x00\xff" + whole[at + 2 :])
    broken = GeoIpDatabase(path)
    assert broken.place_of("77.160.4.5") is None
    assert [one.message for one in caplog.records] == ["the database of places is broken"]
    assert broken.place_of("80.1.2.3") == "United Kingdom"
    broken.close()
