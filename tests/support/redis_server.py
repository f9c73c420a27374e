"""A Redis of one's own: started, frozen, killed and started again on the same port."""

import re
import shutil
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support.waiting import LONG, wait_until

BINARY = "redis-server"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


class RedisServer:
    """A server that keeps nothing on disk; skips the test where there is no binary."""

    def __init__(self, folder: Path) -> None:
        if shutil.which(BINARY) is None:
            pytest.skip(f"there is no {BINARY} on this machine")
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start, empty, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                BINARY, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", str(self._folder),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: self.ask("PING") == b"+PONG\r\n")

    def ask(self, command: str) -> bytes:
        """The beginning of a plain command's answer; nothing when it does not listen."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=LONG) as connection:
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(65536)
        except ConnectionError:
            return b""

    def commands(self) -> "Counter[str]":
        """How often clients have called what, apart from this question and scripts' own calls."""
        lines = self.ask("INFO commandstats").decode().splitlines()
        calls = re.findall(r"cmdstat_(\S+?):calls=(\d+)", "\n".join(lines))
        inner = {"info", "get", "set", "time", "ping"}
        return Counter({name: int(times) for name, times in calls if name not in inner})

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(LONG)
