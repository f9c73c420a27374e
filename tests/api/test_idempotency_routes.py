"""Idempotent commands over HTTP, on a real database: once, then the same answer again."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar
from uuid import uuid4

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
from guilder.db.idempotency import fingerprint, idempotency_keys
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.infra.security.keys import KeyRing, ring_of
from guilder.infra.security.macs import SecretMac
from tests.api.plumbing import NOW, CurrentActor, Gates, client_of, problem
from tests.support.asking import JSON, ask


class NoteCreate(RequestBody):
    name: Name100
    password: Name100 | None = None


@dataclass(frozen=True)
class WriteNote:
    name: str
    password_hash: str | None = None
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


def make_app(runner: Runner, notes: Notes, keys: KeyRing | bytes = b"k" * 32) -> Api:
    app = Api()
    app.parts = Parts(TokenCache(Gates(), FixedClock(NOW)), runner, SecretMac(keys))

    def body(name: str) -> dict[str, object]:
        return {"name": name, "number": len(notes.written)}

    @app.post("/notes", status_code=201)
    async def write(note: NoteCreate, actor: CurrentActor, once: TheOnce) -> Reply:
        command = WriteNote(note.name)
        return await once.run(notes.write, command, actor, body, place=PLACE)

    @app.post("/signups", status_code=201)
    async def sign_up(note: NoteCreate, actor: AnonymousActor, once: TheOnce) -> Reply:
        command = WriteNote(note.name, f"salted {uuid4()}")
        secrets = {"password_hash": note.password or ""}
        return await once.run(notes.write, command, actor, body, place=PLACE, secrets=secrets)

    @app.post("/notes/{place}", status_code=201)
    async def write_elsewhere(
        place: str, note: NoteCreate, actor: CurrentActor, once: TheOnce
    ) -> Reply:
        return await once.run(notes.write, WriteNote(note.name), actor, body, place=PLACE)

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
PLACE = "/notes/{number}"


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
    assert first.headers["location"] == again.headers["location"] == "/api/v1/notes/1"
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


@pytest.mark.parametrize(
    "body", [{"name": " a\u00a0"}, {"name": "a", "password": None}, {"password": None, "name": "a"}]
)
async def test_the_same_request_in_another_form_gets_the_first_answer(
    client: httpx.AsyncClient, notes: Notes, body: dict[str, object]
) -> None:
    first = await client.post("/notes", json={"name": "a"}, headers=KEY)
    again = await client.post("/notes", json=body, headers=KEY)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert notes.written == ["a"]


async def test_the_same_request_to_another_operation_is_refused(client: httpx.AsyncClient) -> None:
    await client.post("/notes", json={"name": "a"}, headers=KEY)
    refused = await client.post("/notes/elsewhere", json={"name": "a"}, headers=KEY)
    problem(refused, 422, "idempotency_conflict")


async def test_another_secret_under_the_key_is_refused(
    client: httpx.AsyncClient, notes: Notes
) -> None:
    body = {"name": "a", "password": "correct horse"}
    first = await client.post("/signups", json=body, headers=KEY)
    again = await client.post("/signups", json=body, headers=KEY)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    for change in ({"password": "other"}, {"name": "b"}):
        refused = await client.post("/signups", json=body | change, headers=KEY)
        problem(refused, 422, "idempotency_conflict")
    assert notes.written == ["a"]


async def test_a_secret_is_known_again_after_the_banks_key_was_renewed(
    database: Database, notes: Notes
) -> None:
    runner, old, new = Runner(database, FixedClock(NOW)), b"o" * 32, b"n" * 32
    body = {"name": "a", "password": "correct horse"}
    statuses = []
    for keys in (ring_of(old), ring_of([new, old]), ring_of(new)):
        async with client_of(make_app(runner, notes, keys)) as client:
            answer = await client.post("/signups", json=body, headers=KEY)
            statuses.append((answer.status_code, answer.headers.get("idempotency-replayed")))
    assert statuses == [(201, None), (201, "true"), (422, None)]  # the last knows one key only
    await runner.drain()


async def test_nobody_without_the_banks_key_can_try_secrets_on_a_fingerprint(
    database: Database, notes: Notes
) -> None:
    stored, runner = [], Runner(database, FixedClock(NOW))
    for number, keys in enumerate((b"o" * 32, b"n" * 32)):
        async with client_of(make_app(runner, notes, keys)) as client:
            body = {"name": "a", "password": "correct horse"}
            await client.post("/signups", json=body, headers={"Idempotency-Key": str(number)})
    async with database.view() as connection:
        rows = (await connection.execute(idempotency_keys.select())).all()
    stored = [row.fingerprint for row in rows]
    assert len(set(stored)) == 2  # the same request, and nothing but the bank's key differs
    plain = fingerprint(("POST", "/signups", {"name": "a", "password_hash": "correct horse"}))
    assert plain not in stored
    assert "correct horse" not in json.dumps([str(row) for row in rows])


async def test_a_key_of_one_address_is_not_that_of_another(
    database: Database, notes: Notes
) -> None:
    app = make_app(Runner(database, FixedClock(NOW)), notes)
    body = b'{"name": "a", "password": "correct horse"}'
    headers = [*JSON, (b"idempotency-key", b"one")]
    asked = [
        await ask(app, "POST", "/signups", headers, body, client=address)
        for address in ("192.0.2.7", "192.0.2.8", "2001:db8::7", "192.0.2.7")
    ]
    assert [answer.status for answer in asked] == [201] * 4
    assert [answer.header("idempotency-replayed") for answer in asked] == [None, None, None, "true"]
    assert notes.written == ["a"] * 3


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
