"""Under which name the bank is reached, as browsers see it."""

import pytest

from guilder.infra.process.origins import passkey_party
from guilder.infra.process.production import address_warnings


@pytest.mark.parametrize(
    ("address", "host", "origins"),
    [
        ("http://localhost:8000", "localhost", ("http://localhost:8000",)),
        ("http://127.0.0.1:8000", "localhost", ("http://localhost:8000",)),
        ("http://[::1]", "localhost", ("http://localhost",)),
        ("https://bank.example:443", "bank.example", ("https://bank.example",)),
        ("https://bank.example:8443", "bank.example", ("https://bank.example:8443",)),
    ],
)
def test_passkeys_belong_to_the_name_that_people_open(
    address: str, host: str, origins: tuple[str, ...]
) -> None:
    assert passkey_party(address, "", ()) == (host, origins)
    chosen = ("https://app.example", "https://bank.example")
    assert passkey_party(address, "bank.example", chosen) == ("bank.example", chosen)


@pytest.mark.parametrize(
    ("address", "doubts"),
    [
        ("http://localhost:8000", 0), ("http://127.0.0.1:8000", 0), ("https://bank.example", 0),
        ("https://192.0.2.7", 1), ("http://[2001:db8::1]:8000", 1),
    ],
)  # fmt: skip
def test_an_address_without_a_name_is_told_at_start(address: str, doubts: int) -> None:
    assert len(address_warnings(address)) == doubts
