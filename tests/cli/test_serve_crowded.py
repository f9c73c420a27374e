"""``guilder serve`` with few descriptors, and many connections that do nothing or do not read."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli import serving as serving_module
from tests.cli.serving import Running, command, environment, serving
from tests.support.waiting import LONG

pytestmark = pytest.mark.integration

DESCRIPTORS = 256
CROWD = 300
LONG_ANSWER = b"GET /docs/assets/redoc.standalone.js HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Servers that are started in this test have 256; our own process has as many as before."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_module, "command", limited)
        yield
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def limited(*arguments: str, python: str | Path) -> list[str]:
    """The command with few descriptors."""
    plain = command(*arguments, python=python)
    return ["sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", *plain]


@contextmanager
def crowd(running: Running, sent: bytes, addresses: int) -> Iterator[list[socket.socket]]:
    """Many connections that send something and never read."""
    with ExitStack() as stack:
        connections = []
        for number in range(CROWD):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.bind((f"127.0.1.{1 + number % addresses}", 0))
            one.connect(("127.0.0.1", running.port))
            one.sendall(sent)
            connections.append(one)
        yield connections


@pytest.mark.parametrize(
    "addresses", [1, *(pytest.param(few, marks=pytest.mark.heavy) for few in (3, 100))]
)
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="silent", marks=pytest.mark.heavy),
        pytest.param(b"GET / HT", id="half"),
        pytest.param(LONG_ANSWER * 3, id="deaf", marks=pytest.mark.heavy),
    ],
)
def test_a_server_with_256_descriptors_keeps_serving(
    sqlite_url: str, tmp_path: Path, few_descriptors: None, sent: bytes, addresses: int
) -> None:
    values = environment(sqlite_url, tmp_path, RATE_LIMITS="off")
    with serving(tmp_path, values) as running, crowd(running, sent, addresses):
        for _ in range(20):
            with httpx.Client(timeout=LONG) as client:
                assert client.get(f"{running.base}/health").status_code == 200
        text = running.log.read_text()
    assert "Too many open files" not in text
    assert "connection refused" in text or addresses > 1
