"""Sockets: one, or several that share an address, and none that somebody else has."""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from guilder.infra.process import descriptors
from guilder.infra.process.connections import ConnectionBounds
from guilder.infra.process.listening import allow_past_connections
from guilder.infra.process.server import CannotListen, Server, bind
from tests.support.waiting import LONG, until

pytestmark = pytest.mark.integration  # sockets and processes

LOCAL = "127.0.0.1"


@contextmanager
def bound(count: int = 1, host: str = LOCAL, port: int = 0) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(one) for one in bind(host, port, count)]


def test_one_socket_is_bound_to_the_address() -> None:
    with bound() as (one,):
        assert one.getsockname()[0] == LOCAL
        assert one.getsockname()[1] > 0
        assert not one.getblocking()


def test_several_sockets_share_an_address_and_get_connections_each() -> None:
    with bound(2) as sockets:
        address = sockets[0].getsockname()
        assert {one.getsockname() for one in sockets} == {address}
        for one in sockets:
            one.listen(256)
        with ExitStack() as clients:
            for _ in range(64):
                clients.enter_context(socket.create_connection(address))
            found: Counter[int] = Counter()
            for number, one in enumerate(sockets):
                while _accepted(one, clients):
                    found[number] += 1
        assert sum(found.values()) == 64
        assert min(found[0], found[1]) >= 10


def _accepted(one: socket.socket, clients: ExitStack) -> bool:
    try:
        clients.enter_context(one.accept()[0])
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("count", [1, 2])
def test_an_address_in_use_is_refused(count: int) -> None:
    with bound(2) as sockets:
        port = sockets[0].getsockname()[1]
        for one in sockets:
            one.listen(1)
        with pytest.raises(CannotListen, match=f"port {port}: Address already in use"):
            bind(LOCAL, port, count)


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("second", [1, 2])
def test_an_address_is_taken_from_its_binding_on_though_nobody_listens_yet(
    first: int, second: int
) -> None:
    """Two starts at once, which listen only when their databases are there."""
    with bound(first) as sockets:
        port = sockets[0].getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port}: Address already in use"):
            bind(LOCAL, port, second)


def test_connections_that_a_stopped_server_has_closed_are_not_in_the_next_ones_way() -> None:
    with bound() as (one,):
        address = one.getsockname()
        allow_past_connections([one])
        one.listen(1)
        with socket.create_connection(address):
            _accept(one).close()  # the side that closes first remembers the address for a minute
    for count in (1, 2):
        with bound(count, port=address[1]) as sockets:
            assert sockets[0].getsockname() == address


def _accept(listening: socket.socket) -> socket.socket:
    listening.setblocking(True)
    return listening.accept()[0]


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(CannotListen, match=r"cannot resolve no\.such\.host\.invalid"):
        bind("no.such.host.invalid", 0)


def test_localhost_is_version_4() -> None:
    with bound(host="localhost") as (one,):
        assert one.family == socket.AF_INET


def test_a_system_that_cannot_share_a_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(CannotListen, match="cannot share a port"):
        bind(LOCAL, 0, 2)
    with bound():
        pass


def test_a_process_that_hangs_is_ended_by_force() -> None:
    hanging = (
        "import time\nfrom guilder.infra.process.server import force_exit_after\n"
        "force_exit_after(0.1)\ntime.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", hanging], capture_output=True, check=False, timeout=LONG
    )
    assert done.returncode == 1
    assert done.stderr == b"ended by force: something did not stop in time\n"


async def test_a_server_that_has_started_is_not_walked_by_the_collector_again() -> None:
    """Else every request waits, now and then, while all of the program is looked through."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    server = Server(app, lambda: None)
    with bound() as sockets:
        serving = asyncio.create_task(server.serve(sockets))
        while not server.started:
            await asyncio.sleep(0.01)
        frozen = gc.get_freeze_count()
        gc.unfreeze()
        gc.freeze()
        server.should_exit = True
        await serving
    assert frozen > 10_000


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers at once, before it has read the body, or after a while."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    await asyncio.sleep(0.8 if scope["path"] == "/later" else 0)
    bodies = {
        "/long": b"x" * LONG_ANSWER,
        "/client": f"{scope['client'][0]} {scope['scheme']}".encode(),
    }
    body = bodies.get(scope["path"], b"ok")
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


GET = b"GET / HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"", b""),
        (b"GET / HTT", b""),
        (GET, b"x: y\r\n"),
        (GET + b"\r\n" + GET, b"x: y\r\n"),
        (GET + b"content-length: 9999\r\n\r\n", b"body"),
    ],
    ids=["nothing", "half a line", "half a head", "half a head after an answer", "half a body"],
)
async def test_a_connection_without_a_running_request_is_closed_in_time(
    first: bytes, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little, and however often, comes meanwhile."""
    monkeypatch.setattr("guilder.infra.process.server.HEAD_SECONDS", 0.5)
    async with _connected() as (reader, writer):
        writer.write(first)
        closed = asyncio.create_task(_all_of(reader))
        async with asyncio.timeout(LONG):
            while not closed.done():
                writer.write(rest)
                await asyncio.sleep(0.05)
        assert (await closed).count(b"HTTP/1.1 200 OK") == (b"\r\n\r\n" in first)


LONG_ANSWER = 12_000_000


@pytest.mark.parametrize("head", [b"", b"connection: close\r\n"], ids=["kept", "closed"])
async def test_who_does_not_read_an_answer_is_cut_off(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guilder.infra.process.server.UNREAD_SECONDS", 0.2)
    async with _served() as (server, address):
        with socket.create_connection(address) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n")
            await until(lambda: server.server_state.connections)
            await until(lambda: not server.server_state.connections)


@pytest.mark.parametrize("head", [b"", b"connection: close\r\n"], ids=["kept", "closed"])
async def test_who_reads_slowly_is_not_cut_off(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it takes twice as long as one may read nothing."""
    monkeypatch.setattr("guilder.infra.process.server.UNREAD_SECONDS", 0.5)
    async with _served() as (_, address):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.connect(address)
            client.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=client, limit=65_536)
            writer.write(b"GET /long HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            read = 0
            while read < LONG_ANSWER:
                part = await reader.read(60_000)
                assert part, f"cut off after {read}"
                read += len(part)
                await asyncio.sleep(0.005)
            writer.close()


async def test_a_full_server_makes_room_for_who_asks() -> None:
    async with _served(ConnectionBounds(4)) as (server, address):
        idle = [await asyncio.open_connection(*address) for _ in range(2)]
        await until(lambda: len(server.server_state.connections) == 2)
        _, refused = await asyncio.open_connection(*address)
        await until(lambda: len(server.server_state.connections) == 2)
        for _, writer in idle:
            writer.close()
        await until(lambda: not server.server_state.connections)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()
        refused.close()


async def test_the_address_of_a_client_is_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the application reads who a proxy says it asks for, and only of those it knows."""
    async with _served() as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(
            b"GET /client HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9\r\n"
            b"x-forwarded-proto: https\r\nforwarded: for=203.0.113.9\r\nconnection: close\r\n\r\n"
        )
        assert (await reader.read()).endswith(b"\r\n\r\n127.0.0.1 http")
        writer.close()


async def test_a_request_that_runs_is_given_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guilder.infra.process.server.HEAD_SECONDS", 0.5)
    later = b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n"
    async with _connected() as (reader, writer):
        writer.write(later + later)
        assert (await reader.read()).count(b"HTTP/1.1 200 OK") == 2


async def test_connections_beyond_the_descriptors_are_refused_at_once_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before there is none left for the database, or for an answer to who is in and at work."""
    async with _served(ConnectionBounds(1, shared=lambda _: True)) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: server.server_state.tasks)
        for _ in range(3):
            late, end = await asyncio.open_connection(*address)
            assert (await late.read()).startswith(b"HTTP/1.1 503 ")
            end.close()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
    (line,) = [one for one in caplog.records if one.message == "connection refused"]
    assert vars(line)["fields"] == {"cause": "1 are open, and more would leave no file"}


def test_some_descriptors_are_kept_for_the_work_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, wanted in ((256, 192), (1024, 960), (40, 30)):
        monkeypatch.setattr(descriptors, "most_descriptors", lambda most=most: most)
        assert descriptors.most_connections() == wanted


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    """All that comes; the end may be a reset, for what was sent after it."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := await reader.read(65_536):
            parts.append(part)
    return b"".join(parts)


_NO_COLLECTOR = SimpleNamespace(collect=lambda: 0, freeze=lambda: None)
"""Here a server would look through all that the tests have loaded, for seconds."""


@asynccontextmanager
async def _served(
    bounds: ConnectionBounds | None = None,
) -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    """A server in this loop, and its address."""
    server = Server(_answer, lambda: None, bounds=bounds)
    with bound() as sockets, pytest.MonkeyPatch.context() as patch:
        patch.setattr("guilder.infra.process.server.gc", _NO_COLLECTOR)
        serving = asyncio.create_task(server.serve(sockets))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield server, sockets[0].getsockname()
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def _connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server in this loop."""
    async with _served() as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        try:
            yield reader, writer
        finally:
            writer.close()
