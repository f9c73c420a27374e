"""The supervisor with small programs in the place of servers."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from guilder.infra.process import supervisor
from guilder.infra.process.server import bind
from guilder.infra.process.settings import InvalidSettings
from guilder.infra.process.supervisor import Supervisor, metrics_folder
from tests.support.waiting import LONG, until

pytestmark = pytest.mark.integration  # processes

TOLD = "import os, signal, socket, sys, time\ncontrol = socket.socket(fileno=int(sys.argv[2]))\n"
OBEDIENT = (
    TOLD + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); control.send(b'R')\n"
    "while True: time.sleep(0.2); control.send(b'.')\n"
)
STUBBORN = (
    TOLD + "signal.signal(signal.SIGTERM, signal.SIG_IGN); control.send(b'R')\n"
    "while True: time.sleep(0.2); control.send(b'.')\n"
)
BROKEN = TOLD + "sys.exit(3)\n"
HANGING = TOLD + "time.sleep(60)\n"
ONCE = (
    TOLD + "path = sys.argv[3]\nif os.path.exists(path): sys.exit(3)\n"
    "open(path, 'w').close(); control.send(b'R'); time.sleep(0.2); os._exit(9)\n"
)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(one) for one in bind("127.0.0.1", 0, 2)]


class Watched:
    """A supervisor that runs a program, and the processes it has started."""

    def __init__(
        self,
        sockets: list[socket.socket],
        program: str,
        *arguments: str,
        metrics: Path = Path("nowhere"),
    ) -> None:
        self.supervisor = Supervisor(
            sockets,
            lambda _number, listening, control: [
                sys.executable, "-c", program, str(listening), str(control), *arguments,
            ],
            metrics,
        )  # fmt: skip

    async def run(self, then: Callable[[], Awaitable[object]]) -> int:
        """Run until ``then`` is over and the supervisor has been told to stop."""
        running = asyncio.create_task(self.supervisor.run())
        await then()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(LONG):
            return await running


async def children(count: int, *, without: frozenset[int] = frozenset()) -> frozenset[int]:
    """Wait for so many child processes, none of them in ``without``."""
    path = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    async with asyncio.timeout(LONG):
        while True:
            found = frozenset(map(int, path.read_text().split()))
            if len(found) == count and not found & without:
                return found
            await asyncio.sleep(0.05)


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Hears what a supervisor says of workers that are ready."""
    caplog.set_level(logging.INFO)
    return caplog


def ready(caplog: pytest.LogCaptureFixture) -> int:
    """How often a worker has got ready."""
    return [record.message for record in caplog.records].count("worker ready")


async def test_a_process_for_each_socket_until_told_to_stop(
    sockets: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    async def started() -> None:
        await children(2)
        await until(lambda: ready(caplog) == 2)

    assert await Watched(sockets, OBEDIENT).run(started) == 0
    assert await children(0) == frozenset()


async def test_a_process_that_is_killed_is_replaced(
    sockets: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    async def killed() -> None:
        first = await children(2)
        await until(lambda: ready(caplog) == 2)
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        await children(2, without=frozenset({victim}))
        await until(lambda: ready(caplog) == 3)

    assert await Watched(sockets, OBEDIENT).run(killed) == 0


async def test_a_process_that_does_not_answer_is_replaced(
    sockets: list[socket.socket], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped, say; the others say that they live, and are left alone."""
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 4.0)

    async def stopped() -> None:
        first = await children(2)
        await until(lambda: ready(caplog) == 2)
        victim = min(first)
        os.kill(victim, signal.SIGSTOP)
        second = await children(2, without=frozenset({victim}))
        assert first - {victim} < second
        await until(lambda: ready(caplog) == 3)

    assert await Watched(sockets, OBEDIENT).run(stopped) == 0
    (line,) = [one for one in caplog.records if one.message.startswith("worker does not answer")]
    assert line.levelname == "ERROR"


async def test_processes_that_cannot_start_end_the_supervisor(
    sockets: list[socket.socket],
) -> None:
    async with asyncio.timeout(LONG):
        assert await Watched(sockets, BROKEN).supervisor.run() == 1
    await children(0)


async def test_a_process_that_never_gets_ready_ends_the_supervisor(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.5)
    async with asyncio.timeout(LONG):
        assert await Watched(sockets, HANGING).supervisor.run() == 1
    await children(0)


async def test_a_process_that_worked_once_is_tried_again_but_not_for_ever(
    sockets: list[socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MAX_FAILED_STARTS", 3)
    async with asyncio.timeout(LONG):
        watched = Watched(sockets[:1], ONCE, str(tmp_path / "was here"))
        assert await watched.supervisor.run() == 1


async def test_a_process_that_will_not_stop_is_killed_and_told_of(
    sockets: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.5)

    async def started() -> None:
        await children(2)
        await until(lambda: ready(caplog) == 2)

    assert await Watched(sockets, STUBBORN).run(started) == 1
    await children(0)


async def test_the_folder_of_metrics_is_shared(
    sockets: list[socket.socket], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = TOLD + (
        "open(sys.argv[3], 'a').write(os.environ['PROMETHEUS_MULTIPROC_DIR'] + '\\n')\n"
        "control.send(b'R'); control.recv(1)\n"
    )
    noted = tmp_path / "noted"

    async def started() -> None:
        await children(2)
        await until(lambda: ready(caplog) == 2)

    watched = Watched(sockets, program, str(noted), metrics=tmp_path / "metrics")
    assert await watched.run(started) == 0
    assert noted.read_text().split() == [str(tmp_path / "metrics")] * 2


HOLDER = (
    "import pathlib, sys; from guilder.infra.process.supervisor import metrics_folder\n"
    "with metrics_folder(pathlib.Path(sys.argv[1])): print(flush=True); sys.stdin.read()\n"
)


def test_the_folder_of_metrics_of_a_killed_server_goes_at_the_next_start(tmp_path: Path) -> None:
    """While that of one that lives stays, whatever process numbers the two have."""
    parent = tmp_path / "data" / "run"
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    with holders[0] as killed, holders[1] as alive:
        assert killed.stdout is not None
        assert alive.stdout is not None
        assert (killed.stdout.readline(), alive.stdout.readline()) == (b"\n", b"\n")
        before = set(parent.iterdir())
        killed.kill()
        killed.wait()
        with metrics_folder(parent) as mine:
            (mine / "counter_1.db").touch()
            left = set(parent.iterdir()) - {mine}
            assert len(left) == 1
            assert left < before
        assert set(parent.iterdir()) == left
        alive.communicate()
    assert list(parent.iterdir()) == []


def test_a_folder_of_metrics_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with (
        pytest.raises(InvalidSettings, match=r"cannot write in .*/data/run: Not a directory"),
        metrics_folder(tmp_path / "data" / "run"),
    ):
        pass
