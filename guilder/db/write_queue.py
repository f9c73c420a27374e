"""A queue for whoever writes to one SQLite database, of whatever process.

SQLite lets in whoever asks first when its lock is free. Who waits sleeps between two looks, for up
to 100 ms, and who has just committed asks again within microseconds: of two busy processes one can
be kept out for seconds. So writers queue up first, at two locks on files beside the database: who
wants to write waits for the queue's and then, as the next, for the turn's. Who comes back meanwhile
finds the queue's taken.

This is for fairness alone, and what is safe rests on SQLite's own lock. Where files cannot be
locked, or somebody stands still at the front, writers go past the queue and meet at SQLite as ever.
The kernel lets go of the locks of a process that ends.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from guilder.db.files import make_private_file

with suppress(ImportError):  # Windows has none
    import fcntl

QUEUE_SUFFIXES: Final = ("-queue", "-turn")
"""What the files are called after the database, in the order in which they are locked."""
IN_QUEUE_SECONDS: Final = 2.0
"""How long one waits at the most; as long as a turn can take on a slow disk, and no longer."""
PAST_SECONDS: Final = 10.0
"""For how long nobody is waited for after that: whoever stands at the front may be stopped."""
_LOOK_SECONDS: Final = 0.0002
_LOOP_SECONDS: Final = 0.001
"""Between two looks, in a thread and on an event loop, whose clock has no finer steps."""

_log: Final = logging.getLogger(__name__)


class WriteQueue:
    """One writer's place in the queue of a database; each writer has its own, in each process.

    Its turn lasts from ``enter``, ``wait`` or the beginning of ``turn`` until ``leave``.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._locks: tuple[int, ...] | None = None
        self._past_until = 0.0

    def enter(self) -> bool:
        """Begin a turn if nobody else has it or waits for it. Never waits."""
        locks = self._opened()
        if not all(map(_locked, locks)):
            self.leave()
            return False
        _unlock(locks[:1])
        return True

    def wait(self) -> None:
        """Wait for the turn, in a thread of its own: it sleeps."""
        for _ in self._looks():
            sleep(_LOOK_SECONDS)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn that lasts as long as the block, waited for on the event loop."""
        try:
            for _ in self._looks():
                await asyncio.sleep(_LOOP_SECONDS)
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        """End the turn, or the waiting for it."""
        _unlock(self._locks or ())

    def close(self) -> None:
        """Leave, and close the files; they are opened again by the next turn."""
        locks, self._locks = self._locks, None
        for lock in locks or ():
            os.close(lock)

    def _looks(self) -> Iterator[None]:
        """A pause between each two looks. Ends in the turn, or when that is not to be waited for.

        Nobody is passed: it takes each lock in its order and keeps the first for the second.
        """
        if self.enter() or monotonic() < self._past_until:
            return
        locks = self._opened()
        deadline = monotonic() + IN_QUEUE_SECONDS
        for lock in locks:
            while not _locked(lock):
                if monotonic() > deadline:
                    self.leave()
                    self._past_until = monotonic() + PAST_SECONDS
                    return
                yield
        _unlock(locks[:1])

    def _opened(self) -> tuple[int, ...]:
        """The files' descriptors; none where there can be no queue."""
        if self._locks is None:
            if os.name != "posix" or not self._database.exists():
                return ()
            opened: list[int] = []
            try:
                opened.extend(_open(self._database, suffix) for suffix in QUEUE_SUFFIXES)
            except OSError as error:
                for descriptor in opened:
                    os.close(descriptor)
                opened.clear()
                fields = {"file": str(self._database), "cause": str(error)}
                _log.warning("writers do not queue", extra={"fields": fields})
            self._locks = tuple(opened)
        return self._locks


def _open(database: Path, suffix: str) -> int:
    """Open a file to lock, for the database's owner only; what root makes is that owner's."""
    path = database.with_name(database.name + suffix)
    if not path.exists():
        make_private_file(path)
        if os.geteuid() == 0:
            found = database.stat()
            os.chown(path, found.st_uid, found.st_gid)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _locked(lock: int) -> bool:
    """Whether the lock is ours now. Where files cannot be locked there is nobody to wait for."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _unlock(locks: tuple[int, ...]) -> None:
    for lock in locks:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
