"""``guilder serve`` at its socket: what no HTTP library would send.

After each a sound request is answered, and the log holds no fault.
"""

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.serving import Running, environment, serving
from tests.hostile.values import MARK
from tests.support.waiting import LONG, wait_until

pytestmark = pytest.mark.integration

END = b"\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def server(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all of these; the file is the template itself, for nobody changes anything."""
    folder = tmp_path_factory.mktemp("wire")
    file = folder / "guilder.db"
    file.write_bytes(sqlite_template.read_bytes())
    with serving(folder, environment(f"sqlite:///{file}", folder, LOG_LEVEL="debug")) as running:
        yield running
        text = running.log.read_text()
        assert "unhandled_error" not in text
        assert "Traceback" not in text
        assert MARK not in text


@pytest.fixture
def wire(server: Running) -> Iterator[socket.socket]:
    """A connection; after the test the server is as well as before."""
    with closing(connected(server)) as connection:
        yield connection
    assert server.get("/health/live").status_code == 200


def connected(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=LONG)


def heard(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, or has answered and falls silent."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
            connection.settimeout(0.7)
    except TimeoutError:
        pass
    except ConnectionResetError:
        parts.append(b"<reset>")
    return b"".join(parts)


def status(answer: bytes) -> int:
    """The first status; 0 for a connection that was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"get / HTTP/1.1" + END,
        b"GET / HTTP/9.9" + END,
        b"GET / HTTX/1.1" + END,
        b"GET /\x00 HTTP/1.1" + END,
        b"GET /\xff\xfe HTTP/1.1" + END,
        b"GET / HTTP/1.1\r\nhost x" + END,
        b"GET / HTTP/1.1\r\n: x" + END,
        b"GET / HTTP/1.1\r\nna me: x" + END,
        b"GET / HTTP/1.1\r\nname : x" + END,
        b"GET / HTTP/1.1\r\nname: a\x00b" + END,
        b"GET / HTTP/1.1\r\nname: a\rb" + END,
        b"GET / HTTP/1.1\nhost: x\n\n\x00",
        b"\r\n" * 20 + b"\x00\x01",
        MARK.encode() * 100 + END,
        POST + b"content-length: -1" + END,
        POST + b"content-length: 1, 1" + END + b"{",
        POST + b"content-length: 2\r\ncontent-length: 3" + END + b"{}x",
        POST + b"content-length: 0x2" + END + b"{}",
        POST + b"content-length: " + b"9" * 40 + END,
        POST + b"transfer-encoding: chunked\r\ncontent-length: 2" + END + b"{}",
        POST + b"transfer-encoding: xchunked" + END + b"{}",
        POST + b"transfer-encoding: chunked, identity" + END + b"2\r\n{}\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked" + END + b"zz\r\n{}\r\n",
        POST + b"transfer-encoding: chunked" + END + b"-2\r\n{}\r\n",
        POST + b"transfer-encoding: chunked" + END + b"f" * 17 + b"\r\n{}\r\n",
        POST + b"transfer-encoding: chunked" + END + b"2\r\n{}XX0\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nhost: x" + END,
        b"OPTIONS * HTTP/1.1\r\nhost: x" + END,
    ],
    ids=range(31),
)
def test_what_is_no_http_is_refused(wire: socket.socket, sent: bytes) -> None:
    """With a status or without; never with more than one answer, or an echo."""
    wire.sendall(sent)
    answer = heard(wire)
    assert status(answer) in (0, 400, 404, 405), answer
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert MARK.encode() not in answer


@pytest.mark.parametrize(
    "path",
    [
        b"/%2e%2e/%2e%2e/etc/passwd", b"/../../etc/passwd", b"///x//y", b"/%", b"/%zz",
        b"/%00", b"/health%00", b"/%ff%fe", b"/%c0%ae%c0%ae/", b"/%ed%a0%80", b"/api%2Fv1%2Fusers",
        b"/api/v1/accounts/%2e%2e/users", b"/api/v1/%0d%0aSet-Cookie:%20a=b", b"/" + b"a" * 8_000,
        b"/" + b"a/" * 4_000, b"/\\..\\x", b"/;jsessionid=1", b"/api/v1/users/me;x=y",
        b"/.git/config",
        b"/api/v1/accounts/" + b"%41" * 2_000, b"http://evil.example/health/live/x", b"/%E2%80%AE",
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_a_problem(wire: socket.socket, path: bytes) -> None:
    wire.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close" + END)
    answer = heard(wire)
    assert status(answer) in (401, 404, 405), answer
    head, _, body = answer.partition(END)
    assert b"content-type: application/problem+json" in head
    assert b"content-security-policy: default-src 'none'" in head
    assert b"\r\nSet-Cookie" not in answer
    assert b"etc" not in body


def poured(connection: socket.socket, parts: Iterable[bytes]) -> bytes:
    """What is answered to parts that are sent until the other side has enough; it must have."""
    try:
        for part in parts:
            connection.sendall(part)
    except ConnectionError:
        return heard(connection)
    raise AssertionError("all of it was taken")


def test_a_head_without_end_is_refused(wire: socket.socket) -> None:
    wire.sendall(GET)
    assert status(poured(wire, [b"x" * 65_536] * 400)) in (0, 431)


@pytest.mark.parametrize("part", [b"x-%d: y\r\n", b"cookie-%d: " + b"c" * 500 + b"\r\n"])
def test_headers_without_end_are_refused(wire: socket.socket, part: bytes) -> None:
    def parts() -> Iterator[bytes]:
        for block in range(2_000):
            yield b"".join(part % number for number in range(block * 50, block * 50 + 50))
            time.sleep(0.001)

    wire.sendall(GET)
    assert status(poured(wire, parts())) in (0, 431)


def test_many_headers_and_a_large_one_are_no_matter(wire: socket.socket) -> None:
    many = b"".join(b"x-%d: y\r\n" % number for number in range(300))
    wire.sendall(GET + many + b"cookie: " + b"c" * 30_000 + b"\r\nconnection: close" + END)
    assert status(heard(wire)) == 200


def test_a_large_body_in_small_parts_is_no_head(wire: socket.socket) -> None:
    wire.sendall(POST + b"content-length: 16000" + END)
    for _ in range(100):
        wire.sendall(b" " * 160)
        time.sleep(0.001)
    assert status(heard(wire)) == 400
    wire.sendall(GET + b"connection: close" + END)
    assert status(heard(wire)) == 200


def test_pipelined_requests_are_answered_in_order(wire: socket.socket) -> None:
    bad = POST + b"content-length: 2" + END + b"{}"
    last = b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close" + END
    wire.sendall(GET + b"\r\n" + bad + GET + b"\r\n" + bad + last)
    answer = heard(wire)
    told = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert told == [200, 422, 200, 422, 404]


def test_a_body_is_not_taken_for_the_next_request(wire: socket.socket) -> None:
    """One that was refused before it was read, and looks like a request, is still a body."""
    inner = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    wire.sendall(
        b"POST /api/v1/transfers HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(inner)
        + inner
    )
    answer = heard(wire)
    assert status(answer) == 401
    assert answer.count(b"HTTP/1.1 ") == 1


def test_an_upgrade_is_not_made(wire: socket.socket) -> None:
    wire.sendall(
        GET + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAA\r\n"
        b"sec-websocket-version: 13" + END
    )
    assert status(heard(wire)) == 200


def test_an_answer_to_head_has_no_body(wire: socket.socket) -> None:
    wire.sendall(b"HEAD /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close" + END)
    answer = heard(wire)
    assert status(answer) == 404
    assert answer.endswith(END)


def test_the_log_is_forged_by_nothing(server: Running) -> None:
    """A line of ours is one line, whatever is in the path or the request id."""
    before = server.requests()
    with closing(connected(server)) as wire:
        wire.sendall(
            b"GET /%0a%7b%22event%22%3a%22forged%22%7d HTTP/1.1\r\nhost: x\r\n"
            b'x-request-id: a"\\b\r\n'
            b"connection: close" + END
        )
        assert status(heard(wire)) == 404
    wait_until(lambda: server.requests() > before)
    assert "forged" not in server.log.read_text()
