"""The HTTP server of one process: uvicorn on given sockets, with an orderly and bounded stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from guilder.core.sparse_log import SparseLog
from guilder.infra.process.connections import ConnectionBounds
from guilder.infra.process.descriptors import raise_limit
from guilder.infra.process.listening import (
    allow_past_connections,
    let_in_again,
    let_nobody_in,
    refuse_another,
)

STOP_SECONDS: Final = 10.0
"""From the signal to the end of the process, whatever hangs."""
DRAIN_SECONDS: Final = 0.5
"""How long requests are still taken in, and each answered with ``Connection: close``: a client that
sends one just when its idle connection is closed would not know whether it was heard."""
ACCEPT_SECONDS: Final = 0.05
"""How long connections that were made are still accepted when no more can be made."""
REQUEST_SECONDS: Final = 6
"""Of these, how long requests that run have to finish; the rest is for closing the pools."""
BACKLOG: Final = 2048
HEAD_SECONDS: Final = 30.0
"""How long a connection may be open without a request that runs: idle, or with half a head."""
UNREAD_SECONDS: Final = 30.0
READ_BYTES: Final = 30_000
"""A client that is sent more than fits reads at least so much of it in that time."""
MAX_HEAD_BYTES: Final = 65_536
"""Bytes of a request's line and headers, to within what arrives at once."""
READY: Final = b"R"
ALIVE: Final = b"."
"""What a worker tells its supervisor every ``ALIVE_SECONDS``, as long as its loop turns."""
ALIVE_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)
_sparse: Final = SparseLog(_log)
_BODY: Final = frozenset((b"content-length", b"transfer-encoding"))
SHORT_DIGITS: Final = 4
"""Of a length: so short a body mostly comes with its head, and there is nothing to gain."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class CannotListen(Exception):
    """The address cannot be listened on."""


class ServerConfig(uvicorn.Config):
    """What all connections of a server know: whether it is about to stop."""

    draining = False


class Connection(HttpToolsProtocol):
    """A connection with bounds on what comes before a request is known, in time and in bytes.

    The body's bounds are the application's. What is no HTTP is answered with a bare status. Who
    does not read what they are answered is cut off.
    """

    _bound: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _unread_bytes = 0
    _heads = 0
    _in_head = True
    _head_bytes = 0

    def __init__(self, *args: Any, bounds: ConnectionBounds, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = bounds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request, if there is room for one more."""
        super().connection_made(transport)  # type: ignore[arg-type]
        cause = self._bounds.enter(self, self.client[0] if self.client else "")
        if cause is None:
            self._wait()
        else:
            _sparse.tell("connection refused", cause)
            self._refuse(b"503 Service Unavailable")

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._bounds.leave(self)
        self._wait_no_longer()
        self._is_read()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered; it has to go on in time."""
        super().pause_writing()
        self._is_unread()

    def resume_writing(self) -> None:
        """The client has read; after the last answer it has to read the rest, too."""
        super().resume_writing()
        self._is_read()
        if self.transport.is_closing():
            self._is_unread()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked for."""
        self._end()

    def data_received(self, data: bytes) -> None:
        """Read; answer a head that does not end with 431."""
        heads, in_head = self._heads, self._in_head
        super().data_received(data)
        if heads != self._heads or not in_head:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def drain(self) -> None:
        """Tell whoever waits for an answer that it is the last one here."""
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        if cycle is not None:
            cycle.keep_alive = False

    def on_headers_complete(self) -> None:
        """A request begins to run, or to wait for the one before it.

        Of a body nothing more is read before the application asks for it.
        """
        self._heads += 1
        self._in_head = False
        self._wait_no_longer()
        super().on_headers_complete()
        if any(name in _BODY and len(value) > SHORT_DIGITS for name, value in self.headers):
            self.flow.pause_reading()
        if cast(ServerConfig, self.config).draining:
            self.drain()

    def on_message_complete(self) -> None:
        """What comes next is another head."""
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request; what is left of this one's body does not count as one."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self.cycle.body = bytearray()  # nobody reads what is left of it
        if self.transport.is_closing():
            self._is_unread()
        elif self.cycle.response_complete:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with 400."""
        self._refuse(b"400 Bad Request")

    def _refuse(self, status: bytes) -> None:
        head = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head % status)
        self._end()

    def _end(self) -> None:
        """Close; what is left to be sent is sent if the client reads it in time."""
        self.transport.close()
        self._is_unread()

    def _wait(self) -> None:
        self._wait_no_longer()
        if not self.transport.is_closing():
            self._bound = self.loop.call_later(HEAD_SECONDS, self._end)
            self._tell_bounds()

    def _wait_no_longer(self) -> None:
        if self._bound is not None:
            self._bound.cancel()
            self._bound = None
            self._tell_bounds()

    def _is_unread(self) -> None:
        if self._unread is None:
            self._unread_bytes = self.transport.get_write_buffer_size()
            self._unread = self.loop.call_later(UNREAD_SECONDS, self._look_again)
            self._tell_bounds()

    def _look_again(self) -> None:
        self._unread = None
        if self.transport.get_write_buffer_size() > self._unread_bytes - READ_BYTES:
            self.abort()
        else:
            self._is_unread()

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
            self._tell_bounds()

    def _tell_bounds(self) -> None:
        waiting = self._bound is not None or self._unread is not None
        self._bounds.waits(self, waiting=waiting)


class Server(uvicorn.Server):
    """Serves until a signal comes, then finishes what runs and ends with status 0.

    ``stopping`` is called with the signal, before anything is closed. ``control`` is one end of a
    socket pair with a supervisor: it is told when the server is ready, and when the supervisor is
    gone, so goes the server. ``aside`` is another application with a socket of its own, which other
    processes may share.
    """

    def __init__(
        self,
        app: Any,
        stopping: Callable[[], None],
        control: socket.socket | None = None,
        bounds: ConnectionBounds | None = None,
        aside: tuple[Any, socket.socket] | None = None,
    ) -> None:
        super().__init__(_config(app, bounds))
        self._stopping = stopping
        self._control = control
        self._aside = aside
        self._drained_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the supervisor.

        What is there now stays: a collection that walks all of it would hold every request up for
        some 60 ms.
        """
        raise_limit()
        let_in_again(sockets or ())
        allow_past_connections(sockets or ())
        await super().startup(sockets)
        if self._aside is not None:
            self.servers.append(await self._serve_aside(*self._aside))
        gc.collect()
        gc.freeze()
        if self._control is not None:
            self._control.send(READY)
            asyncio.get_running_loop().add_reader(self._control.fileno(), self._lonely)
            self._say_alive(self._control)

    async def _serve_aside(self, app: Any, sock: socket.socket) -> asyncio.Server:
        config = _config(app, None)
        config.load()
        allow_past_connections([sock])
        make = partial(
            cast(Any, config.http_protocol_class), config, self.server_state, self.lifespan.state
        )
        return await asyncio.get_running_loop().create_server(make, sock=sock, backlog=BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now: not before clients had time to hear that they should go."""
        leaving = await super().on_tick(counter)
        return leaving and (self.force_exit or time.monotonic() >= self._drained_at)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close, once everybody is in who has connected, and has asked what they came to ask."""
        let_nobody_in(sockets or ())
        await asyncio.sleep(ACCEPT_SECONDS)
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._has_new_connections() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(ACCEPT_SECONDS)  # nothing tells of a first request
        await super().shutdown(sockets)

    def _has_new_connections(self) -> bool:
        return any(cast(Connection, one).cycle is None for one in self.server_state.connections)

    def handle_exit(self, sig: int, frame: object) -> None:
        """Begin to stop; a second interrupt does not wait for requests."""
        self._stop(impatient=self.should_exit and sig == signal.SIGINT)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle the signals ourselves: uvicorn would end the process with them in the end."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in _SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def _say_alive(self, control: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is busy, or gone, which the reader is told
            control.send(ALIVE)
        asyncio.get_running_loop().call_later(ALIVE_SECONDS, self._say_alive, control)

    def _lonely(self) -> None:
        assert self._control is not None
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._stop()

    def _stop(self, *, impatient: bool = False) -> None:
        if not self.should_exit:
            self._stopping()
            force_exit_after(STOP_SECONDS)
            self._drained_at = time.monotonic() + DRAIN_SECONDS
            cast(ServerConfig, self.config).draining = True
            for connection in self.server_state.connections:
                cast(Connection, connection).drain()
        self.should_exit = True
        self.force_exit = self.force_exit or impatient


def _config(app: Any, bounds: ConnectionBounds | None) -> ServerConfig:
    return ServerConfig(
        app,
        http=partial(Connection, bounds=bounds or ConnectionBounds()),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=REQUEST_SECONDS,
    )


def force_exit_after(seconds: float) -> None:
    """End this process by force after so long, if it is still there."""
    timer = threading.Timer(seconds, _end_by_force)
    timer.daemon = True
    timer.start()


def _end_by_force() -> None:
    _log.error("ended by force: something did not stop in time")
    logging.shutdown()
    os._exit(1)


def bind(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """Bind one socket, or ``count`` that share the address. Raises ``CannotListen``.

    From here on nobody else can bind it, long before anything listens: until then who connects is
    refused, and asks elsewhere.

    With a socket each, the kernel spreads connections over the processes; a single one shared by
    all would give nearly all connections to whichever process wakes first.
    """
    if count > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise CannotListen("this system cannot share a port between several workers")
    family, address = _resolved(host, port)
    sockets: list[socket.socket] = []
    try:
        if count > 1:  # sharing must be with our own sockets only: prove that nobody listens there
            with _bound(family, address, shared=False):
                pass
        for _ in range(count):
            sockets.append(_bound(family, address, shared=count > 1))
            address = sockets[0].getsockname()
    except OSError as error:
        for one in sockets:
            one.close()
        raise CannotListen(
            f"cannot listen on {host} port {port}: {error.strerror or error}"
        ) from None
    refuse_another(sockets)
    return sockets


def _resolved(host: str, port: int) -> tuple[int, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"cannot resolve {host}: {error.strerror}") from None
    # `localhost` may be both; clients that know only one know version 4.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, address


def _bound(family: int, address: Any, *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    one.setblocking(False)
    return one
