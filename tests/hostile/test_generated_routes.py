"""Requests that schemathesis makes of OpenAPI: sound ones, and ones with something wrong.

All cases of an operation are drawn before the first is sent, from a fixed seed: what the bank
answers has no part in what it is asked, so the run is the same on both databases and each time.
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import APIRouter, FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from guilder.api.auth import AnonymousActor
from guilder.api.policies import HEALTH, rate_limited
from guilder.api.replies import Reply, json_response
from guilder.api.schema import ResponseBody
from guilder.core.permissions import GRANTS, Permission, Role
from tests.access.making import Maker, built
from tests.access.world import ALL, World
from tests.support.app import app_on, started
from tests.support.asking import Answer, ask

BASE = "http://bank.test"


def no_fault(_context: object, response: Response, _case: object) -> None:
    """Schemathesis's own check of this asks once more, over a network that is not here."""
    assert response.status_code < 500, f"a fault: {response.status_code}"


CHECKS: list[Any] = [
    no_fault, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance, negative_data_rejection,
]  # fmt: skip
"""Access is not among them: the access matrix asks more of it than ``ignored_auth`` does."""


class Generated:
    """A bank, and what schemathesis makes of its OpenAPI."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.document = json.loads(json.dumps(world.app.openapi()))
        self.schema = schemathesis.openapi.from_dict(self.document)
        self.schema.config.update(base_url=BASE)
        refusals = self.schema.config.checks.negative_data_rejection
        refusals.expected_statuses = [*refusals.expected_statuses, "413"]  # too long, and wrong
        self.statuses: dict[str, set[int]] = {}
        self.found: list[str] = []

    def operations(self) -> Iterator[APIOperation[Any, Any, Any, Any]]:
        for result in self.schema.get_all_operations():
            assert isinstance(result, Ok)
            yield result.ok()

    def cases(self, operation: APIOperation[Any, Any, Any, Any], count: int) -> list[Any]:
        """Every case at a bound, and up to ``count`` drawn of either kind."""
        modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
        config = self.schema.config.generation_for(operation=operation)
        drawn: list[Any] = list(
            self.schema.iter_coverage_cases(
                operation, generation_modes=modes, generation_config=config
            )
        )
        for mode in modes:
            with suppress(Unsatisfiable):  # an operation that takes nothing takes nothing wrong
                drawn += _drawn(operation.as_strategy(generation_mode=mode), count)
        return drawn

    async def run(self, count: int, every: int = 1) -> int:
        """Ask of every so many-th operation; gives the number of requests, ``found`` the faults."""
        asked = 0
        for operation in islice(self.operations(), 0, None, every):
            token = await self._token(operation.definition.raw.get("x-permission"))
            for case in self.cases(operation, count):
                await self.judge(case, token)
                asked += 1
        return asked

    async def judge(self, case: Any, token: str | None) -> None:
        """Ask, and let schemathesis look at the answer."""
        given_headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        kwargs = case.as_transport_kwargs(base_url=BASE, headers=given_headers)
        kwargs = {name: kwargs[name] for name in kwargs if name not in ("timeout", "verify")}
        request = requests.Request(**kwargs).prepare()
        answer = await send(self.world.app, request)
        self.statuses.setdefault(case.operation.label, set()).add(answer.status)
        try:
            case.validate_response(heard(answer, request), checks=CHECKS)
        except (Failure, FailureGroup) as failure:
            told = str(getattr(failure, "exceptions", failure))
            self.found.append(f"{case.operation.label}: {answer.status} {told}\n{request.body!r}")

    async def _token(self, permission: str | None) -> str | None:
        """One of somebody who may; whoever may end sessions gets a session of their own."""
        if permission is None:
            return None
        if Permission(permission) is Permission.SECURITY_WRITE:
            name = f"pat{len(self.world.tokens)}"
            maker = Maker(self.world.app, self.world.client)
            await maker.join(name)
            self.world.tokens[name] = maker.tokens[name]
            return maker.tokens[name]
        return self.world.tokens["ada" if permission in GRANTS[Role.USER] else "root"]


def _drawn(strategy: Any, count: int) -> list[Any]:
    cases: list[Any] = []

    @seed(20_261_122)
    @settings(
        max_examples=count, phases=[Phase.generate], database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def draw(case: Any) -> None:
        cases.append(case)

    draw()
    return cases


async def send(app: FastAPI, request: requests.PreparedRequest) -> Answer:
    """Hand a prepared request to the application as a server would."""
    assert request.url is not None
    assert request.method is not None
    body = request.body or b""
    assert isinstance(body, bytes | str)
    headers = [(_raw(name.lower()), _raw(value)) for name, value in request.headers.items()]
    return await ask(
        app, request.method, request.url.removeprefix(BASE), headers,
        body.encode() if isinstance(body, str) else body,
    )  # fmt: skip


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def heard(answer: Answer, request: requests.PreparedRequest) -> Response:
    """The answer as schemathesis knows answers."""
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
    packed = headers.pop("content-encoding", None) == ["gzip"]
    content = gzip.decompress(answer.body) if packed and answer.body else answer.body
    return Response(
        status_code=answer.status, headers=headers, content=content, request=request,
        elapsed=0.0, verify=False,
    )  # fmt: skip


@asynccontextmanager
async def bank(app: FastAPI) -> AsyncIterator[Generated]:
    async with started(app) as client:
        world = await built(app, client)
        yield Generated(world)


async def test_no_request_made_of_a_part_of_the_reference_is_answered_wrongly(
    database_url: str, tmp_path: Path
) -> None:
    async with bank(app_on(database_url, tmp_path)) as generated:
        asked = await generated.run(count=2, every=6)
        assert generated.found == []
        assert asked > 100


@pytest.mark.heavy
async def test_no_request_made_of_the_reference_is_answered_wrongly(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with bank(app_on(sqlite_url, tmp_path)) as generated:
        asked = await generated.run(count=5)
        assert generated.found == []
        print(f"\n{asked} requests")
        assert asked > 1000
        assert generated.statuses.keys() == {one.name for one in ALL}


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_no_request_of_very_many_is_answered_wrongly(
    database_url: str, tmp_path: Path
) -> None:
    async with bank(app_on(database_url, tmp_path)) as generated:
        asked = await generated.run(count=300)
        print(f"\n{asked} requests", *generated.found, sep="\n")
        assert not generated.found


async def test_the_sound_answers_of_every_operation_fit_the_reference(
    database_url: str, tmp_path: Path
) -> None:
    """What schemathesis makes up is mostly not found; here each operation succeeds."""
    async with bank(app_on(database_url, tmp_path)) as generated:
        world = generated.world
        for operation in ALL:
            if operation.permission is None:
                continue
            name = "ada" if operation.permission in GRANTS[Role.USER] else "root"
            heard_of = await world.ask(operation, name)
            case = generated.schema[operation.path][operation.method].Case()
            case.validate_response(heard_of, checks=CHECKS[:-1])
            world.tokens["ada"] = (await world.login("ada"))["access_token"]


@pytest.mark.heavy
async def test_a_handler_that_crashes_and_one_that_lies_are_found(
    sqlite_url: str, tmp_path: Path
) -> None:
    app = app_on(sqlite_url, tmp_path)
    app.include_router(planted())
    async with bank(app) as generated:
        for operation in generated.operations():
            if operation.path.startswith("/planted"):
                for case in generated.cases(operation, 20):
                    await generated.judge(case, None)
        for label in ("crash", "lie", "status", "takes"):
            assert any(f"/planted/{label}:" in found for found in generated.found), label


def planted() -> APIRouter:
    """Four routes with the defects that the checks are for."""
    router = APIRouter(prefix="/planted")

    @router.get("/crash")
    @rate_limited(HEALTH)
    async def crash(actor: AnonymousActor, number: int = 0) -> dict[str, int]:
        return {"whole": 1 // (number - 7) if number > 6 else 1 // number}

    @router.get("/lie", response_model=Told)
    @rate_limited(HEALTH)
    async def lie(actor: AnonymousActor) -> Reply:
        return json_response(200, {"number": "seven"})

    @router.get("/status", response_model=Told)
    @rate_limited(HEALTH)
    async def status(actor: AnonymousActor) -> Reply:
        return json_response(418, {"number": 7})

    @router.post("/takes", openapi_extra=STRICT)
    @rate_limited(HEALTH)
    async def takes(actor: AnonymousActor) -> dict[str, int]:
        return {"number": 7}

    return router


class Told(ResponseBody):
    number: int


_NUMBER = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
STRICT: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _NUMBER}}}
}
