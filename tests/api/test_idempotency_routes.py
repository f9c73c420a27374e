"""Idempotent commands over HTTP, on a real database: once, then the same answer again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

import httpx
import pytest

from guilder.api.app import Api
from guilder.api.auth import AnonymousActor, TokenCache
from guilder.api.idempotency import TheOnce
from guilder.api.replies import Reply
from guilder.api.schema import Name100, RequestBody
from guilder.core.clock import FixedClock
from guilder.core.errors import Conflict
from guilder.core.parts import Parts
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from tests.api.plumbing import NOW, CurrentActor, Gates, client_of, problem


class NoteCreate(RequestBody):
    name: Name100
    password: Name100 = "none"


@dataclass(frozen=True)
class WriteNote:
    name: str
    action: ClassVar[str] = "notes.write"


class Notes:
    """The command under test: counts how often it ran; refuses a name while it is told to."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.refusing = False

    async def write(self, uow: UnitOfWork, command: WriteNote) -> str:
        if self.refusing:
            raise Conflict("Not now.")
        await asyncio.sleep(0.01)
        self.written.append(command.name)
        return command.name


def make_app(runner: Runner, notes: Notes) -> Api:
    app = Api()
    app.parts = Parts(TokenCache(Gates(), FixedClock(NOW)), runner)

    def body(name: str) -> dict[str, object]:
        return {"name": name, "number": len(notes.written)}

    @app.post("/notes", status_code=201)
    async def write(note: NoteCreate, actor: CurrentActor, once: TheOnce) -> Reply:
        command = WriteNote(note.name)
        return await once.run(notes.write, command, actor, body)

    @app.post("/signups", status_code=201)
    async def sign_up(note: NoteCreate, actor: AnonymousActor, once: TheOnce) -> Reply:
        return await once.run(
            notes.write,
            WriteNote(note.name),
            actor,
            body,
            secrets=("password",),
        )

    return app


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
async def client(database: Database, notes: Notes) -> AsyncIterator[httpx.AsyncClient]:
    runner = Runner(database, FixedClock(NOW))
    async with client_of(make_app(runner, notes)) as made:
        yield made
    await runner.drain()


KEY = {"Idempotency-Key": "one"}


async def test_same_request_gets_the_first_answer_again(
    client: httpx.AsyncClient, notes: Notes
) -> None:
    first = await client.post("/notes", json={"name": "a"}, headers=KEY)
    assert first.status_code == 201
    assert "idempotency-replayed" not in first.headers
    again = await client.post(
        "/notes/", content=b' {"name" : "a"} ', headers={**KEY, "Content-Type": "application/json"}
    )
    assert again.status_code == 201
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert notes.written == ["a"]


async def test_different_request_under_the_key_is_refused(client: httpx.AsyncClient) -> None:
    await client.post("/notes", json={"name": "a"}, headers=KEY)
    refused = await client.post("/notes", json={"name": "b"}, headers=KEY)
    problem(refused, 422, "idempotency_conflict")


async def test_refusal_does_not_burn_the_key(client: httpx.AsyncClient, notes: Notes) -> None:
    notes.refusing = True
    problem(await client.post("/notes", json={"name": "a"}, headers=KEY), 409, "conflict")
    notes.refusing = False
    found = await client.post("/notes", json={"name": "a"}, headers=KEY)
    assert found.status_code == 201
    assert "idempotency-replayed" not in found.headers


async def test_without_a_key_each_request_counts(client: httpx.AsyncClient, notes: Notes) -> None:
    for number in (1, 2):
        answer = await client.post("/notes", json={"name": "a"})
        assert answer.json() == {"name": "a", "number": number}
    assert notes.written == ["a", "a"]


async def test_callers_do_not_share_keys(client: httpx.AsyncClient, notes: Notes) -> None:
    await client.post("/notes", json={"name": "a"}, headers=KEY)
    signed_up = await client.post("/signups", json={"name": "a"}, headers=KEY)
    assert "idempotency-replayed" not in signed_up.headers
    assert notes.written == ["a", "a"]


async def test_secrets_leave_no_trace_in_the_fingerprint(
    client: httpx.AsyncClient, notes: Notes
) -> None:
    body = {"name": "a", "password": "correct horse"}
    await client.post("/signups", json=body, headers=KEY)
    again = await client.post("/signups", json=body | {"password": "other"}, headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"
    refused = await client.post("/signups", json=body | {"name": "b"}, headers=KEY)
    problem(refused, 422, "idempotency_conflict")
    assert notes.written == ["a"]


async def test_storm_of_the_same_request_runs_once(client: httpx.AsyncClient, notes: Notes) -> None:
    async def post() -> httpx.Response:
        return await client.post("/notes", json={"name": "a"}, headers=KEY)

    answers = await asyncio.gather(*(post() for _ in range(8)))
    assert notes.written == ["a"]
    assert {answer.status_code for answer in answers} <= {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "idempotency_in_progress")
            assert answer.headers["retry-after"] == "1"
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
