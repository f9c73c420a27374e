"""Every operation of the reference, asked by everybody who may not, and by those who may.

Judged by the answer and by what has become of every row. Generated from OpenAPI: a new operation is
in the matrix by being there, and fails until its path parameters and its body are in ``world``.
"""

import httpx
import pytest

from guilder.core.actor import FRESH_US
from guilder.core.permissions import GRANTS, Role
from tests.access.effects import watching
from tests.access.vectors import Vector
from tests.access.world import ALL, API, CLOSING, PROTECTED, QUERIES, WITH_ID, World
from tests.support.app import bank_of

NOT_AS_THEY_STAND = {
    "POST /api/v1/users/me/totp/confirmations": "totp_not_found",
    "POST /api/v1/users/me/recovery-codes": "totp_not_found",
    "POST /api/v1/passkeys": "wrong_factor",
    CLOSING: "accounts_hold_money",
}
"""What the owner is refused as well, who is let through to be told just that."""


@pytest.mark.parametrize(
    "copy", ["sqlite", pytest.param("postgres", marks=pytest.mark.heavy)], indirect=True
)
async def test_who_has_no_good_token_is_refused_by_every_operation(world: World) -> None:
    """Each vector by each operation, in between two proofs that the good token works."""
    vectors, watch = world.vectors(), await watching(bank_of(world.app).database)
    names = [vector.name for vector in vectors]
    assert len(set(names)) == len(names) >= 60
    assert len(PROTECTED) >= 20
    await _the_good_token_works(world)
    wrong = [
        f"{operation.name}, {vector.name}: {answer.status_code} {answer.text[:200]}"
        for operation in PROTECTED
        for vector in vectors
        if not _is_refusal(answer := await world.show(operation, vector), vector)
    ]
    assert wrong == []
    assert await watch.changes() == []
    await _the_good_token_works(world)


def _is_refusal(answer: httpx.Response, vector: Vector) -> bool:
    return (
        answer.status_code == vector.status
        and answer.json().get("code") == vector.code
        and answer.headers["content-type"] == "application/problem+json"
        and (vector.status != 401 or answer.headers["www-authenticate"].startswith("Bearer"))
    )


async def _the_good_token_works(world: World) -> None:
    """Under any spelling of the scheme: so it is the vectors that are refused, and not Ada."""
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer "):
        headers = {"Authorization": f"{scheme} {world.tokens['ada']}"}
        answer = await world.client.get(f"{API}/users/me", headers=headers)
        assert (answer.status_code, answer.json()["email"]) == (200, "ada@example.test")


@pytest.mark.parametrize(
    ("name", "role"), [("eve", Role.USER), ("ron", Role.READONLY), ("root", Role.ADMIN)]
)
async def test_a_role_is_let_through_where_it_has_the_permission_and_nowhere_else(
    world: World, name: str, role: Role
) -> None:
    watch, ada = await watching(bank_of(world.app).database), world.people["ada"]
    for operation in PROTECTED:
        answer = await world.ask(operation, name)
        told = f"{operation.name} as {role}: {answer.status_code} {answer.text}"
        if operation.permission in GRANTS[role]:
            assert answer.status_code not in {401, 500}, told
            assert answer.json()["code"] != "forbidden" if answer.status_code == 403 else True, told
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), told
        named = ada if role is Role.ADMIN else None
        beyond = await watch.beyond(
            operation.name, world.people[name], refused=answer.is_error, named=named
        )
        assert beyond == [], told
        if operation.name == "DELETE /api/v1/sessions/current":
            world.tokens[name] = (await world.login(name))["access_token"]
            await watch.changes()


async def test_what_is_anothers_is_not_found(world: World) -> None:
    """The same answer as for what does not exist."""
    watch = await watching(bank_of(world.app).database)
    nothing = dict.fromkeys(world.ids, "0198c6ba-0000-7000-8000-000000000000")
    for operation in WITH_ID:
        if operation.permission not in GRANTS[Role.USER]:
            continue
        for ids in ({}, nothing):
            answer = await world.ask(operation, "eve", **ids)
            told = f"{operation.name}: {answer.status_code} {answer.text}"
            assert answer.status_code == 404, told
            assert answer.json()["code"].endswith("_not_found"), told
            assert await watch.changes() == [], told


@pytest.mark.parametrize(
    "path", [f"{API}/transfers", f"{API}/simulations/deposits", f"{API}/transfers/batches"]
)
async def test_nobody_moves_anothers_money(world: World, path: str) -> None:
    operation = next(one for one in ALL if one.path == path and one.method == "POST")
    watch = await watching(bank_of(world.app).database)
    answer = await world.ask(operation, "eve")
    if path.endswith("batches"):
        assert answer.json()["results"][0]["code"] == "account_not_found"
    else:
        assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")
    assert await watch.changes() == []


async def test_the_owner_is_let_through(world: World) -> None:
    for operation in PROTECTED:
        if operation.permission in GRANTS[Role.USER]:
            answer = await world.ask(operation, "ada")
            told = f"{operation.name}: {answer.status_code} {answer.text}"
            if expected := NOT_AS_THEY_STAND.get(operation.name):
                assert answer.json()["code"] == expected, told
            else:
                assert answer.status_code < 300 or operation.name in QUERIES, told
            world.tokens["ada"] = (await world.login("ada"))["access_token"]


async def test_a_session_that_was_not_proved_lately_is_asked_to_step_up(world: World) -> None:
    await world.prove(FRESH_US)
    watch = await watching(bank_of(world.app).database)
    asked = [one for one in PROTECTED if one.step_up]
    assert len(asked) >= 6
    for operation in asked:
        for name, role in (("ada", Role.USER), ("ron", Role.READONLY), ("root", Role.ADMIN)):
            answer = await world.ask(operation, name)
            told = f"{operation.name} as {name}: {answer.status_code} {answer.text}"
            code = "step_up_required" if operation.permission in GRANTS[role] else "forbidden"
            assert (answer.status_code, answer.json()["code"]) == (403, code), told
    assert await watch.changes() == []
