"""Several worker processes on one port: started, watched, replaced, and stopped together."""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.multiprocess import mark_process_dead

from guilder.db.files import make_private_folder, refuse_foreign_folder
from guilder.infra.process.server import STOP_SECONDS
from guilder.infra.process.settings import InvalidSettings
from guilder.infra.process.telemetry import MULTIPROCESS_FOLDER

START_SECONDS: Final = 60.0
SILENT_SECONDS: Final = 20.0
"""How long a worker may say nothing, which tells that it is stopped or its loop stands still."""
MAX_FAILED_STARTS: Final = 6
"""In a row, of a worker that has worked before; the pauses between them double."""

_log = logging.getLogger(__name__)

type CommandBuilder = Callable[[int, int, int], Sequence[str]]
"""Gives a worker's command for its number, its listening descriptor and its control descriptor."""


@contextmanager
def metrics_folder(parent: Path) -> Iterator[Path]:
    """A folder in ``parent`` for the metrics of all workers, until the end of the block.

    Whoever lives holds a lock on theirs; what killed servers have left goes first. Raises
    ``InvalidSettings`` where nothing can be written, and ``ForeignFolder``.
    """
    refuse_foreign_folder(parent, parent.parent)
    with contextlib.ExitStack() as held:
        try:
            make_private_folder(parent)
            with _locked(parent):  # else a folder could be found before it is locked
                for old in parent.glob("metrics-*"):
                    alive_or_gone = contextlib.suppress(BlockingIOError, FileNotFoundError)
                    with alive_or_gone, _locked(old, fcntl.LOCK_NB):
                        shutil.rmtree(old)
                folder = Path(tempfile.mkdtemp(prefix="metrics-", dir=parent))
                held.enter_context(_locked(folder))
                held.callback(shutil.rmtree, folder, ignore_errors=True)
        except OSError as error:
            raise InvalidSettings(f"cannot write in {parent}: {error.strerror}") from None
        yield folder


@contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    """Hold the lock of a folder; the system gives it up when this process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(descriptor)


class Supervisor:
    """Keeps one process running on each socket until a signal comes.

    The sockets stay open here, so connections wait while a worker is replaced; those that are
    ``shared`` are every worker's.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        command: CommandBuilder,
        metrics: Path,
        shared: Sequence[socket.socket] = (),
    ) -> None:
        self._sockets = sockets
        self._shared = [one.fileno() for one in shared]
        self._command = command
        self._stop = asyncio.Event()
        self._failed = False
        self._metrics = metrics

    async def run(self) -> int:
        """Supervise until told to stop; status 1 when a worker would not start or not end."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sig, self._stop.set)
        async with asyncio.TaskGroup() as group:
            for number in range(len(self._sockets)):
                group.create_task(self._keep(number))
        return int(self._failed)

    async def _keep(self, number: int) -> None:
        """Run the worker of one socket again and again."""
        has_worked, failures = False, 0
        while not self._stop.is_set():
            worker = await self._spawn(number)
            if await self._unless_stopped(worker.ready()):
                has_worked, failures = True, 0
                _log.info("worker ready", extra={"fields": worker.fields})
                if await self._unless_stopped(worker.falls_silent()):
                    _log.error("worker does not answer: killed", extra={"fields": worker.fields})
                    worker.kill()
            else:
                failures += 1
            stopped = self._stop.is_set()
            clean = await self._end(worker)
            if stopped:
                self._failed |= not clean
                return
            _log.error("worker ended", extra={"fields": worker.fields})
            if failures >= (MAX_FAILED_STARTS if has_worked else 1):
                self._failed = True
                self._stop.set()
                return
            await self._unless_stopped(asyncio.sleep(0.1 * 2**failures))

    async def _spawn(self, number: int) -> "_Worker":
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        listening = self._sockets[number].fileno()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command(number, listening, theirs.fileno()),
                stdin=DEVNULL,
                pass_fds=(listening, theirs.fileno(), *self._shared),
                env=os.environ | {MULTIPROCESS_FOLDER: str(self._metrics)},
            )
        return _Worker(number, process, ours)

    async def _end(self, worker: "_Worker") -> bool:
        """Make it end, and tell whether asking was enough."""
        clean = await worker.end()
        mark_process_dead(worker.process.pid, str(self._metrics))  # type: ignore[no-untyped-call]
        return clean

    async def _unless_stopped[T](self, work: Awaitable[T]) -> T | None:
        """The outcome of ``work``; None, and no more work, when told to stop before."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        return None


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process and our end of the socket pair that tells how it fares."""

    number: int
    process: Process
    control: socket.socket

    @property
    def fields(self) -> dict[str, object]:
        """For the log."""
        return {
            "worker": self.number,
            "pid": self.process.pid,
            "exit_status": self.process.returncode,
        }

    async def ready(self) -> bool:
        """Wait until it serves; not when it ends before, or takes all too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                return bool(await asyncio.get_running_loop().sock_recv(self.control, 1))
        except (TimeoutError, ConnectionError):
            return False

    async def falls_silent(self) -> bool:
        """Wait until it has ended, or says nothing for too long, which is told.

        Silence is what lasts for two looks: when we were stopped ourselves, the first one proves
        nothing.
        """
        loop, looks = asyncio.get_running_loop(), 0
        while looks < 2:
            try:
                async with asyncio.timeout(SILENT_SECONDS / 2):
                    heard = await loop.sock_recv(self.control, 4096)
            except TimeoutError:
                looks += 1
                continue
            except ConnectionError:
                heard = b""
            if not heard:
                await self.process.wait()
                return False
            looks = 0
        return True

    def kill(self) -> None:
        """End it at once, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def end(self) -> bool:
        """Ask it to stop, make it stop, and tell whether asking was enough."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        self.control.close()
        return self.process.returncode in {0, -signal.SIGTERM}
