"""Files that are there whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guilder.db.files import make_private_folder


@contextmanager
def draft_of(path: Path, data: bytes) -> Iterator[Path]:
    """A synced file with the data beside ``path``, for its owner only, to be moved or linked there.

    What is left of it at the end is removed. An ``OSError`` of writing it names the folder.
    """
    make_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path.parent)) from None
        yield draft
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
