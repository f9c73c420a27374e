"""``guilder shell`` at a terminal."""

import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.serving import command, environment

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]


class Terminal:
    """Types and reads what is shown."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._shown = ""

    def until(self, words: str) -> str:
        """Read until these words are shown; gives what was shown before them."""
        while words not in self._shown:
            self._shown += os.read(self._descriptor, 4096).decode()
        before, _, self._shown = self._shown.partition(words)
        return before

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())


@pytest.fixture
def terminal(sqlite_url: str, tmp_path: Path) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("shell"),
        env=environment(sqlite_url, tmp_path, LOG_LEVEL="warning") | {"TERM": "dumb"},
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    yield Terminal(ours), process
    process.kill()
    process.wait()
    os.close(ours)


def test_the_prompt_awaits_shows_mistakes_and_outlives_an_interrupt(
    terminal: tuple[Terminal, subprocess.Popen[bytes]],
) -> None:
    screen, process = terminal
    assert "await view(query, ...)" in screen.until(">>> ")
    screen.type("import asyncio\n")
    screen.until(">>> ")
    screen.type("await asyncio.sleep(0, 'rest' + 'ed')\n")
    screen.until("'rested'")
    screen.type("await nothing()\n")
    screen.until("NameError: ")
    screen.type("print('a' 'sleep') or await asyncio.sleep(60)\n")
    screen.until("\nasleep")
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    screen.until("KeyboardInterrupt")
    screen.type("bank.poster.alive\n")
    screen.until("True")
    screen.until(">>> ")  # before that Ctrl-D would be lost
    assert time.monotonic() - begun < 30
    screen.type("\x04")
    assert process.wait(30) == 0
