"""Whether the files that an SQLite connection has open are those that lie at their paths.

A file that is removed or replaced goes on to be written by whoever has it open, and is gone when
the last of them ends. SQLite does not notice, so whoever commits looks first.
"""

import logging
import os
from pathlib import Path
from typing import Final

from guilder.core.errors import Unavailable
from guilder.core.sparse_log import SparseLog

SUFFIXES: Final = ("", "-wal", "-shm")
"""The database, its write-ahead log, and the index of that."""

type Identity = tuple[int, int] | None
"""Device and inode; None for a file that is not there."""
type OpenFiles = tuple[Identity, ...]
"""One for each of ``SUFFIXES``, as a connection has them open."""

_log: Final = SparseLog(logging.getLogger(__name__))


class SqliteFiles:
    """The files of one database, for all connections of this process."""

    def __init__(self, path: Path) -> None:
        self._paths = [str(path) + suffix for suffix in SUFFIXES]
        self._database: Identity = None

    def opened(self) -> OpenFiles:
        """What a connection has open that was made just now.

        Raises ``Unavailable`` when that is another database than the first connection's.
        """
        found = tuple(map(_identity, self._paths))
        if self._database is None:
            self._database = found[0]
        self._expect((self._database,), found)
        return found

    def expect_database(self) -> None:
        """Raises ``Unavailable`` when there is none to be opened: nothing is made in its place."""
        self._expect((_identity(self._paths[0]) or (0, 0),), (_identity(self._paths[0]),))

    def check(self, opened: OpenFiles) -> None:
        """Raises ``Unavailable`` when what a connection has open lies no longer at the paths."""
        self._expect(opened, tuple(map(_identity, self._paths)))

    def _expect(self, opened: OpenFiles, found: OpenFiles) -> None:
        for path, wanted, there in zip(self._paths, opened, found, strict=False):
            if there is None or wanted != there:
                what = "was removed" if there is None else "was replaced by another file"
                _log.tell("not committed", f"{path} {what} while we run", file=path)
                raise Unavailable()


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
