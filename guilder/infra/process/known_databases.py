"""What a data folder says about banks that were there, so that none begins anew unnoticed."""

import contextlib
import logging
from pathlib import Path
from typing import Final

from guilder.db.engine import is_sqlite, sqlite_path
from guilder.db.files import refuse_foreign_folder
from guilder.db.postgres import postgres_address
from guilder.infra.files import draft_of

FILE: Final = "databases"
"""In the data folder: a line for every database that has held a bank."""

_log = logging.getLogger(__name__)


class BankMissing(Exception):
    """The database is empty or gone, and there was a bank; the text says how that is known."""


class KnownDatabases:
    """The databases that one data folder has served, and whether ``url`` is one of them."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self._folder = data_dir
        self._file = data_dir / FILE
        self._path = sqlite_path(url).absolute() if is_sqlite(url) else None
        self._name = self._name_of(url)

    def refuse_if_known(self) -> None:
        """Raises ``BankMissing`` where there was a bank before, here or at another address."""
        if (sign := self._sign()) is not None:
            raise BankMissing(
                f"there is no bank at {self._name}, but {sign}: put its database back, give the "
                "right address in GUILDER_DATABASE_URL, or start an empty bank with --new"
            )

    def remember(self) -> None:
        """Write down that there is a bank. Raises ``ForeignFolder``."""
        try:
            names = self._names()
            if self._name not in names:
                refuse_foreign_folder(self._folder)
                text = "".join(f"{name}\n" for name in (*names, self._name))
                with draft_of(self._file, text.encode()) as draft:
                    draft.replace(self._file)
        except OSError as error:
            fields = {"file": str(self._file), "cause": error.strerror}
            _log.warning("cannot note that there is a bank", extra={"fields": fields})

    def _sign(self) -> str | None:
        """By what a bank shows that was here, if there was one."""
        names = self._names()
        if self._name in names:
            return f"{self._file} says that there was one"
        if names:
            return f"{self._file} says that there is one at {names[-1]}"
        if self._path is None or self._path.exists():
            return None
        log = Path(f"{self._path}-wal")
        if log.exists():
            return f"{log} is left of one"
        keys = self._folder / "keys"
        if self._path.parent == self._folder.absolute() and keys.is_dir() and any(keys.iterdir()):
            return f"{keys} has the keys of one"
        return None

    def _names(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self._file.read_text("utf-8").splitlines()
        return []

    def _name_of(self, url: str) -> str:
        """The address without user and password; a file in the folder by its name alone."""
        if self._path is not None:
            inside = self._path.parent == self._folder.absolute()
            return self._path.name if inside else str(self._path)
        return postgres_address(url).shown
