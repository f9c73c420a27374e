"""Connections to PostgreSQL: what an address says holds for both drivers."""

import asyncio
import os
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.db.engine import Database
from guilder.db.migrate import upgrade
from guilder.domains.ledger.store.postgres import PostgresStore
from tests.db.house import TELLER, House, Note, write_note

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[bool]]]:
    """A server that has no TLS, and whether it was asked for any by each who came."""
    asked: list[bool] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readexactly(8) == SSL_REQUEST)
        writer.write(b"N")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("sslmode=require", True), ("ssl=require", True), ("ssl=true", True),
     ("sslmode=disable&connect_timeout=3", False)],
)  # fmt: skip
async def test_both_drivers_ask_for_tls_as_the_address_says(query: str, wanted: bool) -> None:
    async with listening() as (port, asked):
        url = f"postgresql://u:p@127.0.0.1:{port}/bank?{query}"
        database, store = Database(url), PostgresStore(url, SystemClock())
        with pytest.raises(Unavailable):
            await database.ping()
        with pytest.raises(Unavailable):
            await store.commit([])
        with pytest.raises((ConnectionError, DBAPIError)):
            await upgrade(url)
        assert asked == [wanted] * len(asked)
        assert len(asked) >= 3
        await database.close()


@pytest.mark.parametrize(
    "door",
    ["begin", *(pytest.param(d, marks=pytest.mark.heavy) for d in ("single", "view", "ping"))],
)
async def test_a_connection_whose_server_stands_still_is_not_waited_for_long(
    postgres_url: str, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried before it is used, and only work that has begun waits as long as work may."""
    monkeypatch.setattr("guilder.db.engine.ACQUIRE_SECONDS", 0.2)
    database = Database(postgres_url)
    async with database.view() as connection:
        backend = await connection.scalar(text("SELECT pg_backend_pid()"))
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises((Unavailable, TimeoutError)):
            async with asyncio.timeout(20):
                await used(database, door)
        await used(database, door)  # by a new connection
    finally:
        os.kill(backend, signal.SIGCONT)
        await database.close()


async def used(database: Database, door: str) -> None:
    if door == "ping":
        await database.ping()
        return
    async with getattr(database, door)() as connection:
        await connection.execute(text("SELECT 1"))


async def test_an_address_as_hosts_hand_it_out_serves_both_drivers(postgres_url: str) -> None:
    url = f"{postgres_url}&sslmode=require&channel_binding=prefer&connect_timeout=10"
    assert await upgrade(url) is False
    house = House(url)
    await house.runner.run(write_note, Note("a note"), TELLER)
    store = PostgresStore(url, SystemClock())
    assert await store.commit([]) == []
    await store.close()
    await house.database.close()
