"""Files and folders for their owner only, whatever the umask is."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_GROUP_READS: Final = 0o040


class Unwritable(OSError):
    """A folder or a file cannot be made or written; the text says which, and why."""

    def __init__(self, what: str, cause: OSError) -> None:
        super().__init__(f"{what}: {cause.strerror}")
        self.errno, self.strerror = cause.errno, cause.strerror

    def __str__(self) -> str:
        """The text, without the number."""
        return str(self.args[0])


class ForeignFolder(Exception):
    """A new file would not be its folder's owner's; the text says who should run this."""


def refuse_foreign_folder(*folders: Path) -> None:
    """Raises ``ForeignFolder`` where root is about to make something in somebody else's folder.

    Of several, each in the next, the first that is there counts. The server, which runs as that
    somebody, could not write or even read what root makes: it would be ready and healthy, and who
    signs in answered with an error.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    for folder in folders:
        if folder.is_dir():
            if uid := folder.stat().st_uid:
                raise ForeignFolder(
                    f"{folder.absolute()} is not root's, and the server could not use what root "
                    "makes there: run this as its owner, such as with "
                    f"`setpriv --reuid={uid} --clear-groups`"
                )
            return


def make_private_folder(path: Path) -> None:
    """Make a folder and those above it that are not there yet; one that is there stays as it is.

    Raises ``Unwritable``.
    """
    if not path.parent.is_dir():
        make_private_folder(path.parent)
    try:
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        return
    except OSError as error:
        raise Unwritable(f"the folder {path.absolute()} cannot be made", error) from None
    path.chmod(FOLDER_MODE)


def make_private_file(path: Path) -> None:
    """Make an empty file; one that is there stays as it is.

    What SQLite makes beside its database has the database's mode. Raises ``Unwritable``.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return
    except OSError as error:
        raise Unwritable(f"{path.absolute()} cannot be made", error) from None
    try:
        os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def expect_writable(*paths: Path) -> None:
    """Raises ``Unwritable`` for a file or folder that is there and that we may not write.

    It says whose it is and who we are, for that is what mostly differs.
    """
    effective = os.access in os.supports_effective_ids
    for path in paths:
        if path.exists() and not os.access(path, os.W_OK, effective_ids=effective):
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            code = errno.EROFS if read_only else errno.EACCES
            theirs, ours = path.stat().st_uid, os.geteuid()
            whose = "" if theirs == ours else f" by user {ours}, for it is user {theirs}'s"
            raise Unwritable(
                f"{path.absolute()} cannot be written{whose}", OSError(code, os.strerror(code))
            )


def open_to_others(*paths: Path) -> Iterator[tuple[Path, int]]:
    """What of these others than the owner can get into, each with the mode it should have.

    A file of another owner may be read by a group: that is how platforms hand secrets over.
    """
    if os.name != "posix":
        return
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        spare = 0 if path.is_dir() or found.st_uid == os.geteuid() else _GROUP_READS
        wanted = FOLDER_MODE if path.is_dir() else FILE_MODE
        if found.st_mode & 0o777 & ~(wanted | spare):
            yield path, wanted
