"""Secrets that are planted, and the search for them in everything that the bank says and keeps.

To watch over one more secret, add it: ``canaries.add("the reset token", token)``. What may be in
the database by its nature, and nowhere else, is added with ``kept=True``.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from guilder.db.engine import Database
from tests.support import postgres

DATABASE = "database"


@dataclass(frozen=True)
class Canary:
    """A secret, and whether the database may hold it as it stands."""

    name: str
    spellings: frozenset[bytes]
    kept: bool


class Canaries:
    """The secrets of one test."""

    def __init__(self) -> None:
        self._all: list[Canary] = []

    def add(self, name: str, secret: str | bytes, *, kept: bool = False) -> str:
        """Watch over a secret; gives it back as text."""
        raw = secret.encode() if isinstance(secret, str) else secret
        assert len(raw) >= 10, "too short to be told from chance"
        self._all.append(Canary(name, frozenset(_spellings(raw)), kept))
        return raw.decode("latin-1")

    def found(self, place: str, haystack: bytes) -> Iterator[str]:
        """Every canary in a place, with what stands around it."""
        for canary in self._all:
            if canary.kept and place == DATABASE:
                continue
            for spelling in canary.spellings:
                at = haystack.find(spelling)
                if at >= 0:
                    around = haystack[max(0, at - 60) : at + len(spelling) + 20]
                    yield f"{canary.name} in {place}: {around!r}"

    def found_in(self, haystacks: Iterable[tuple[str, bytes]]) -> list[str]:
        return [told for place, haystack in haystacks for told in self.found(place, haystack)]


def _spellings(raw: bytes) -> Iterator[bytes]:
    """As it stands, and as it would be written down; in base64 at any of three offsets."""
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for offset in range(3):
        padded = b"\0" * offset + raw
        whole = len(padded) // 3 * 3
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(padded[:whole])[4 if offset else 0 :]


async def database_dump(url: str, since: float) -> list[tuple[str, bytes]]:
    """All that is on disk of a SQLite database; of PostgreSQL every row and the recent log."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        found = [file.with_name(file.name + end) for end in ("", "-wal", "-journal")]
        return [(DATABASE, one.read_bytes()) for one in found if one.exists()]
    database = Database(url)
    try:
        async with database.view() as connection:
            names = await connection.scalars(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            )
            rows: list[bytes] = []
            for name in names.all():
                told = await connection.scalars(
                    text(f'SELECT row_to_json(t)::text FROM "{name}" t')
                )
                rows += [row.encode() for row in told.all()]
    finally:
        await database.close()
    return [(DATABASE, b"\n".join(rows)), *_logs_in(await postgres.folder_of(url), since)]


def _logs_in(folder: Path, since: float) -> Iterator[tuple[str, bytes]]:
    """The write-ahead log that was written since then."""
    for file in (folder / "pg_wal").iterdir():
        if file.is_file() and file.stat().st_mtime >= since:
            yield DATABASE, file.read_bytes()
