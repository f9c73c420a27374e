"""A proxy between the poster and PostgreSQL that cuts connections around COMMIT.

It understands just enough of the protocol to see a COMMIT go by and to count round trips.
"""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.support.waiting import LONG

COMMIT = b"COMMIT\x00"
LATE_SECONDS = 0.1


class Cut(Enum):
    """What happens to a COMMIT."""

    NO = "it passes"
    BEFORE = "it never arrives"
    AFTER = "it arrives, the client is cut off at once"
    REPLY = "it arrives and takes, the reply is swallowed"
    LATE = "the client is cut off, then it arrives after all"


class FaultProxy:
    """Listens where asyncpg looks for a server; ``choose`` decides about each COMMIT."""

    def __init__(self, server: Path, choose: Callable[[], Cut]) -> None:
        self.cuts: Counter[Cut] = Counter()
        self.round_trips = 0
        self._server = server
        self._choose = choose
        self._tasks: set[asyncio.Task[None]] = set()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or it is cut."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(str(self._server))
        except OSError:
            writer.close()
            return
        link = _Link(self, reader, writer, up_reader, up_writer)
        try:
            await link.run(self._choose)
        finally:
            writer.close()
            up_writer.close()
            self._tasks.discard(task)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Link:
    """One client's connection and the server's behind it."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        self.proxy = proxy
        self.reader, self.writer = reader, writer
        self.up_reader, self.up_writer = up_reader, up_writer
        self.muted = False
        self.ready = asyncio.Event()

    async def run(self, choose: Callable[[], Cut]) -> None:
        down = asyncio.create_task(self._downwards())
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await self._upwards(choose)
        finally:
            down.cancel()
            await asyncio.gather(down, return_exceptions=True)

    async def _upwards(self, choose: Callable[[], Cut]) -> None:
        """Client to server, message by message; the first one has no type."""
        size = await self.reader.readexactly(4)
        self.up_writer.write(size + await self.reader.readexactly(int.from_bytes(size) - 4))
        while True:
            kind = await self.reader.readexactly(1)
            size = await self.reader.readexactly(4)
            body = await self.reader.readexactly(int.from_bytes(size) - 4)
            cut = choose() if kind == b"Q" and body == COMMIT else Cut.NO
            if kind == b"Q" and body == COMMIT:
                self.proxy.cuts[cut] += 1
            if cut is not Cut.NO:
                await self._cut(cut, kind + size + body)
                return
            self.up_writer.write(kind + size + body)
            await self.up_writer.drain()

    async def _cut(self, cut: Cut, message: bytes) -> None:
        self.muted = True
        if cut is Cut.BEFORE:
            return
        if cut is Cut.LATE:
            self.writer.close()
            await asyncio.sleep(LATE_SECONDS)
        self.ready.clear()
        self.up_writer.write(message)
        await self.up_writer.drain()
        if cut is Cut.AFTER:
            self.writer.close()
        await asyncio.wait_for(self.ready.wait(), LONG)

    async def _downwards(self) -> None:
        """Server to client; muted, it is only listened to."""
        with contextlib.suppress(OSError):
            kind = await self.up_reader.read(1)
            while kind:
                size = await self.up_reader.readexactly(4)
                body = await self.up_reader.readexactly(int.from_bytes(size) - 4)
                if kind == b"Z":
                    self.proxy.round_trips += 1
                    self.ready.set()
                if not self.muted:
                    self.writer.write(kind + size + body)
                    await self.writer.drain()
                kind = await self.up_reader.read(1)
        if not self.muted:
            self.writer.close()


def never() -> Cut:
    return Cut.NO


@contextlib.asynccontextmanager
async def proxied(
    url: str, choose: Callable[[], Cut] = never
) -> AsyncIterator[tuple[FaultProxy, str]]:
    """A proxy before the server of ``url``, and the address that leads through it."""
    address = make_url(url)
    folder = str(address.query["host"])
    with tempfile.TemporaryDirectory(prefix="gproxy") as own:
        proxy = FaultProxy(Path(folder) / ".s.PGSQL.5432", choose)
        listener = await asyncio.start_unix_server(proxy.client, f"{own}/.s.PGSQL.5432")
        through = address.set(query={"host": own}).render_as_string(hide_password=False)
        try:
            yield proxy, through
        finally:
            listener.close()
            await proxy.close()
            await listener.wait_closed()
