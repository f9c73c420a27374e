"""Where an address is, by a local database in MaxMind's format: nothing is asked over a network."""

import logging
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import maxminddb

MAX_PLACE_LENGTH: Final = 200
_LANGUAGE: Final = "en"

_log = logging.getLogger(__name__)


class GeoIpDatabase:
    """Names the places of addresses: "Amsterdam, Netherlands", or the country alone.

    The file is mapped into memory and stays open: a new one is put in its place by renaming, and
    seen after a restart. Raises ``ValueError`` for a file that is missing or not such a database.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._reader = maxminddb.open_database(path)
        except FileNotFoundError:
            raise ValueError("there is no such file") from None
        except (OSError, maxminddb.InvalidDatabaseError):
            raise ValueError("cannot be read as a MaxMind database") from None

    def place_of(self, address: str) -> str | None:
        """The place of a public address; None for a private one and when it is not known."""
        try:
            known = ip_address(address)
        except ValueError:  # a caller without an address, such as a test or a job
            return None
        if not known.is_global:
            return None
        try:
            found = self._reader.get(known)
        except maxminddb.InvalidDatabaseError:
            _log.error("the database of places is broken", exc_info=True)
            return None
        return _place(found)

    def close(self) -> None:
        """Give the file back."""
        self._reader.close()


def no_place(_address: str) -> str | None:
    """The place of any address, where there is no database."""
    return None


def _place(found: Any) -> str | None:
    record = found if isinstance(found, dict) else {}
    names = (_name(record.get("city")), _name(record.get("country")))
    return ", ".join(filter(None, names))[:MAX_PLACE_LENGTH] or None


def _name(part: Any) -> str:
    """The English name of a city or a country, empty when the database has none."""
    names = part.get("names") if isinstance(part, dict) else None
    name = names.get(_LANGUAGE) if isinstance(names, dict) else None
    return "".join(filter(str.isprintable, name)).strip() if isinstance(name, str) else ""
