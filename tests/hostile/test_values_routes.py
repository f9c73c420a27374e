"""Hostile values in every field, parameter and path of every operation, on both databases.

Found from OpenAPI, so a new operation is tried by being there. Of each value an oracle says from
the schema alone whether it is sound; what is not must be refused, for its own sake, in the words
of a problem, without an echo, and without a trace in any table.
"""

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from guilder.api.headers import SECURITY_HEADERS
from guilder.core.money import MAX_AMOUNT
from guilder.core.permissions import GRANTS, Role
from guilder.db.base import metadata
from tests.access.making import built
from tests.access.world import ALL, PASSWORD, QUERIES, Operation, World
from tests.hostile.fields import Field, Place, body_schema, fields, sample, with_hole
from tests.hostile.oracle import NoDocument, Verdict, fits_wire, judge, read
from tests.hostile.values import MARK, PAN, VALUES, bodies, wires
from tests.support.app import app_on, bank_of, started
from tests.support.asking import JSON, Answer, RawHeaders, ask

WIRES = wires()
OPERATIONS = {(one.method, one.path): one for one in ALL}
SHAPES = frozenset((
    "wrong_type", "out_of_range", "invalid_uuid", "invalid_date", "invalid_instant",
    "invalid_month", "not_a_choice", "too_long", "too_short", "control_character",
    "unknown_currency", "invalid_account_number", "invalid_key", "required", "too_few", "too_many",
))  # fmt: skip
"""Codes that say that a value is of the wrong shape."""


ENGINES = ("sqlite", "postgres")
STANDARD = [name.decode() for name, _ in SECURITY_HEADERS]


class Hostile:
    """A bank full of Ada's things, and requests about them with one thing wrong."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.document = world.app.openapi()
        self.fields = list(fields(self.document))
        self.asked = 0
        self.wrong: list[str] = []

    def sound_body(self, operation: Operation) -> Any:
        """The body that the access matrix knows, else one that the schema alone asks for."""
        try:
            return self.world.body(operation, self.world.ids)
        except KeyError:
            known = {"email": "ada@example.test", "password": PASSWORD}
            return sample(self._body_schema(operation), known)

    def _body_schema(self, operation: Operation) -> dict[str, Any]:
        paths = self.document["paths"]
        schema = body_schema(self.document, paths[operation.path][operation.method.lower()])
        assert schema is not None
        return schema

    def _body_with(self, operation: Operation, place: Place) -> Any:
        """A body that has the place: one with an object that stands for another, if need be."""
        body, first = self.sound_body(operation), place[0]
        if len(place) == 1 or first in body:
            return body
        return {first: sample(self._body_schema(operation)["properties"][first], {})}

    def headers(self, operation: Operation) -> RawHeaders:
        """Those of somebody who may."""
        if operation.permission is None:
            return []
        name = "ada" if operation.permission in GRANTS[Role.USER] else "root"
        return [(b"authorization", f"Bearer {self.world.tokens[name]}".encode())]

    async def send(
        self, operation: Operation, path: str = "", query: str = "", body: bytes | None = None
    ) -> Answer:
        """Ask as somebody who may, with all that is not given sound."""
        path = path or operation.path.format_map(self.world.ids)
        query = query or "&".join(f"{n}={v}" for n, v in QUERIES.get(operation.name, {}).items())
        if body is None and operation.has_body:
            body = json.dumps(self.sound_body(operation)).encode()
        headers = self.headers(operation) + (JSON if body is not None else [])
        self.asked += 1
        return await ask(self.world.app, operation.method, f"{path}?{query}", headers, body or b"")

    def cases(self, field: Field) -> Iterator[tuple[str | bytes, Verdict]]:
        """Every value with its verdict."""
        if field.kind == "body":
            yield from ((fragment, judge(field.schema, fragment)) for fragment in VALUES)
            return
        for wire in WIRES:
            if field.kind == "path" and self._leads_elsewhere(field, wire):
                continue
            yield wire, fits_wire(field.schema, unquote_plus(wire))

    def _leads_elsewhere(self, field: Field, wire: str) -> bool:
        """Whether a path with this in it is the path of another operation, or ends before it."""
        other = field.path.replace(f"{{{field.place[0]}}}", wire)
        return not wire or other in self.document["paths"]

    async def put(self, field: Field, value: str | bytes) -> Answer:
        """Ask with a value in a field and all else sound."""
        operation = OPERATIONS[field.method, field.path]
        match value:
            case bytes():
                before, after = with_hole(self._body_with(operation, field.place), field.place)
                return await self.send(operation, body=before + value + after)
            case str() if field.kind == "path":
                ids = {**self.world.ids, str(field.place[0]): value}
                return await self.send(operation, path=operation.path.format_map(ids))
            case str():
                given = {**QUERIES.get(operation.name, {}), str(field.place[0]): value}
                query = "&".join(f"{name}={text}" for name, text in given.items())
                return await self.send(operation, query=query)

    async def judge(self, field: Field, value: str | bytes, verdict: Verdict) -> None:
        """Put the value there and note whatever is wrong with the answer."""
        answer = await self.put(field, value)
        for problem in (
            *faults(answer, field.statuses | OTHERS[field.kind]),
            *_verdict(field, value, verdict, answer),
        ):
            self.wrong.append(f"{field.name} = {value[:80]!r}: {answer.status} {problem}")

    async def tables(self) -> dict[str, str]:
        """A digest of every table."""
        found = {}
        async with bank_of(self.world.app).database.view() as connection:
            for table in metadata.sorted_tables:
                rows = (await connection.execute(table.select())).all()
                found[table.name] = hashlib.sha256(
                    repr(sorted(map(repr, rows))).encode()
                ).hexdigest()
        return found


OTHERS = {
    "body": frozenset[int](),
    "query": frozenset[int](),
    "path": frozenset((404, 405)),  # a slash in a path makes another path of it
}


def faults(answer: Answer, statuses: frozenset[int]) -> Iterator[str]:
    """What is wrong with an answer, whatever was asked."""
    if answer.status >= 500 or answer.status not in statuses:
        yield f"is not documented: {answer.body[:200]!r}"
    if (
        answer.header("x-request-id") is None
        or answer.header("x-content-type-options") != "nosniff"
    ):
        yield "lacks a header"
    if answer.status < 400:
        return
    if answer.code is None:
        yield "is no problem"
        return
    body = answer.json()
    if body["status"] != answer.status or body["request_id"] != answer.header("x-request-id"):
        yield "contradicts itself"
    told = answer.body + b"".join(name + value for name, value in answer.headers)
    if MARK.encode() in told or PAN.encode() in told:
        yield f"echoes: {answer.body[:300]!r}"


def _verdict(field: Field, value: str | bytes, verdict: Verdict, answer: Answer) -> Iterator[str]:
    """What is wrong with an answer to a value that is sound, or is not."""
    told = answer.json() if answer.code is not None else {}
    kind, where = (
        ("pointer", field.pointer) if field.kind == "body" else ("parameter", str(field.place[0]))
    )
    places = {error.get(kind, "") for error in told.get("errors", ())}
    if verdict is False:
        expected = {"body": (400, 413, 422), "query": (400, 422), "path": (404, 405)}[field.kind]
        if answer.status not in expected:
            yield "was to be refused"
        elif answer.code != "validation_failed" or not _is_document(value):
            return
        elif not any(found.startswith(where) for found in places):
            yield f"was refused for something else: {told['errors']}"
    elif verdict is True:
        errors = [e for e in told.get("errors", ()) if e.get(kind) == where]
        if any(error["code"] in SHAPES for error in errors if error["code"] != "required"):
            yield f"is sound and was refused: {errors}"


def _is_document(value: str | bytes) -> bool:
    if isinstance(value, str):
        return True
    try:
        read(value)
    except NoDocument:
        return False
    return True


def is_money(schema: dict[str, Any]) -> bool:
    """Whether a field is an amount of minor units."""
    return any(one.get("maximum") == MAX_AMOUNT for one in schema.get("anyOf", [schema]))


@pytest.fixture
async def hostile(database_url: str, tmp_path: Path) -> AsyncIterator[Hostile]:
    app = app_on(database_url, tmp_path)
    logging.getLogger("guilder.access").setLevel(logging.WARNING)
    async with started(app) as client:
        world = await built(app, client)
        yield Hostile(world)
    logging.getLogger("guilder.access").setLevel(logging.NOTSET)


def test_there_are_many_values_for_many_fields(tmp_path: Path) -> None:
    assert len(VALUES) >= 300
    assert len(WIRES) >= 300
    assert sum(is_money(field.schema) for field in fields(app_on("", tmp_path).openapi())) >= 3


async def _refused(hostile: Hostile, share: int) -> None:
    """Every ``share``-th value that no field may take, in turn over the fields; all for money."""
    before = await hostile.tables()
    for number, field in enumerate(hostile.fields):
        bad = [value for value, verdict in hostile.cases(field) if verdict is False]
        assert len(bad) >= 25, field.name
        step = 1 if field.kind == "body" and is_money(field.schema) else share
        for value in bad[number % step :: step]:
            await hostile.judge(field, value, False)
    assert hostile.wrong == []
    assert await hostile.tables() == before


async def _taken(hostile: Hostile, most: int) -> None:
    """Up to ``most`` values of each field that it may take; those of a session's end come last."""
    last = [field for field in hostile.fields if field.path.endswith("/clock")]
    for number, field in enumerate([f for f in hostile.fields if f not in last] + last):
        sound = [(v, verdict) for v, verdict in hostile.cases(field) if verdict is not False]
        step = max(1, len(sound) // most)
        for value, verdict in sound[number % step :: step]:
            await hostile.judge(field, value, verdict)
    assert hostile.wrong == []


def _sizes(name: str, few: int, many: int) -> pytest.MarkDecorator:
    """Few on SQLite in every run, many on both engines with the heavy tests."""
    heavy = [pytest.param(engine, many, marks=pytest.mark.heavy) for engine in ENGINES]
    return pytest.mark.parametrize(
        ("database_url", name), [("sqlite", few), *heavy], indirect=["database_url"]
    )


@_sizes("share", 32, 4)
async def test_what_is_unsound_is_refused_and_leaves_no_trace(hostile: Hostile, share: int) -> None:
    assert len(hostile.fields) >= 60
    await _refused(hostile, share)
    print(f"\n{hostile.asked} requests in {len(hostile.fields)} fields")


@_sizes("most", 1, 8)
async def test_what_is_sound_is_no_fault(hostile: Hostile, most: int) -> None:
    await _taken(hostile, most)
    print(f"\n{hostile.asked} requests in {len(hostile.fields)} fields")


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_every_value_in_every_field(hostile: Hostile) -> None:
    await _refused(hostile, share=1)
    await _taken(hostile, most=10_000)
    print(f"\n{hostile.asked} requests in {len(hostile.fields)} fields")


async def test_what_is_no_document_is_refused_and_leaves_no_trace(hostile: Hostile) -> None:
    before = await hostile.tables()
    for operation in OPERATIONS.values():
        if not operation.has_body:
            continue
        statuses = frozenset(
            map(
                int,
                hostile.document["paths"][operation.path][operation.method.lower()]["responses"],
            )
        )
        for body in bodies(json.dumps(hostile.sound_body(operation)).encode()):
            answer = await hostile.send(operation, body=body)
            problems = [*faults(answer, statuses)]
            if answer.status not in (400, 413, 422):
                problems.append("was to be refused")
            hostile.wrong += [
                f"{operation.name} {body[:60]!r}: {answer.status} {p}" for p in problems
            ]
    assert hostile.wrong == []
    assert await hostile.tables() == before


async def test_a_parameter_that_nobody_knows_is_refused_everywhere(hostile: Hostile) -> None:
    before = await hostile.tables()
    for operation in OPERATIONS.values():
        for query in (f"{MARK}=1", "limit[]=1", "a=%00", "access_token=x", "=", "%", "a" * 3000):
            answer = await hostile.send(operation, query=query)
            assert answer.status == 400, f"{operation.name}?{query[:40]}: {answer.body!r}"
            assert answer.code in ("unknown_parameter", "invalid_text")
            assert MARK not in answer.body.decode()
    assert await hostile.tables() == before
