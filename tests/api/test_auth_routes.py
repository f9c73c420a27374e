"""Who calls: tokens, how long a proof is believed, and roles."""

import asyncio

import pytest

from guilder.api import auth
from guilder.api.auth import Principal, TokenCache
from guilder.core.clock import SECOND_US, FixedClock
from guilder.core.errors import Unauthenticated
from guilder.core.permissions import Role
from tests.api.plumbing import LEAN, NOW, SESSION, USER, Gates, client_of, make_app, move, problem


@pytest.mark.parametrize(
    "header",
    [
        *(b"", b"Bearer", b"Bearer ", b"Bearer  ", b"user", b"Basic dXNlcjp4", b"bearer\tuser"),
        *(b"Bearer unknown", b"Bearer user,user", b"Bearer \xff", b"Bearer " + b"x" * 5000),
    ],
    ids=map(str, range(11)),
)
async def test_bad_token_is_refused(header: bytes) -> None:
    async with client_of(make_app()) as client:
        for method, path in (("GET", "/api/v1/moves"), ("POST", LEAN), ("GET", "/api/v1/moves/x")):
            response = await client.request(method, path, headers=[(b"Authorization", header)])
            problem(response, 401, "unauthenticated")
            told = response.headers["www-authenticate"]
            had_token = header.lower().startswith(b"bearer ")
            assert told.startswith("Bearer")
            assert ('error="invalid_token"' in told) is had_token


async def test_no_token_is_refused_and_the_scheme_has_no_case() -> None:
    async with client_of(make_app()) as client:
        del client.headers["Authorization"]
        problem(await client.get("/api/v1/moves"), 401, "unauthenticated")
        client.headers["Authorization"] = "bEARER user"
        assert (await client.get("/api/v1/moves")).status_code == 200


@pytest.mark.parametrize(
    ("token", "write", "delete"), [("user", 201, 403), ("admin", 201, 204), ("reader", 403, 403)]
)
async def test_roles_are_asked_for(token: str, write: int, delete: int) -> None:
    async with client_of(make_app()) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        written = await client.post("/api/v1/moves/batches", json={"moves": [move()]})
        assert written.status_code == write
        deleted = await client.delete("/api/v1/moves/current")
        assert deleted.status_code == delete
        if delete == 403:
            problem(deleted, 403, "forbidden")


async def test_forbidden_is_said_before_the_fields_are_looked_at() -> None:
    async with client_of(make_app()) as client:
        client.headers["Authorization"] = "Bearer reader"
        problem(await client.post("/api/v1/moves/batches", json={"x": 1}), 403, "forbidden")


async def test_proof_is_believed_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(auth, "monotonic", lambda: now[0])
    gates = Gates()
    async with client_of(make_app(gates)) as client:
        for _ in range(3):
            assert (await client.post(LEAN, json=move())).status_code == 201
        assert gates.proofs == 1
        gates.revoked = True
        now[0] += auth.TRUST_SECONDS - 0.01
        assert (await client.post(LEAN, json=move())).status_code == 201
        now[0] += 0.02
        problem(await client.post(LEAN, json=move()), 401, "unauthenticated")


async def test_forgotten_session_is_proved_again() -> None:
    gates = Gates()
    tokens = TokenCache(gates, FixedClock(NOW))
    for session, proofs in ((USER, 1), (SESSION, 2), (None, 3)):
        assert (await tokens.authenticate("user")).user_id == USER
        tokens.forget(session)
        await tokens.authenticate("user")
        assert gates.proofs == proofs


async def test_token_is_not_believed_past_its_end() -> None:
    clock = FixedClock(NOW + 900 * SECOND_US)
    with pytest.raises(Unauthenticated):
        await TokenCache(Gates(), clock).authenticate("user")


async def test_one_proof_serves_all_who_wait_and_a_cancelled_one_harms_nobody() -> None:
    opened = asyncio.Event()

    class Slow(Gates):
        async def authenticate(self, token: str) -> Principal:
            self.proofs += 1
            await opened.wait()
            if token == "bad":
                raise Unauthenticated()
            return Principal(USER, Role.USER, SESSION, NOW + SECOND_US)

    gates = Slow()
    tokens = TokenCache(gates, FixedClock(NOW))
    waiting = [asyncio.create_task(tokens.authenticate("user")) for _ in range(5)]
    refused = [asyncio.create_task(tokens.authenticate("bad")) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    refused[0].cancel()
    await asyncio.sleep(0)
    opened.set()
    found = await asyncio.gather(*waiting, *refused, return_exceptions=True)
    assert gates.proofs == 2
    assert isinstance(found[0], asyncio.CancelledError)
    assert {who.user_id for who in found[1:5] if isinstance(who, Principal)} == {USER}
    assert isinstance(found[6], Unauthenticated)
    assert tokens.cached("user") is not None
    assert tokens.cached("bad") is None


async def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_CACHED_TOKENS", 2)
    tokens = TokenCache(Gates(), FixedClock(NOW))
    for token in ("user", "admin", "reader"):
        await tokens.authenticate(token)
    assert tokens.cached("user") is None
    assert tokens.cached("admin") is not None
    assert tokens.cached("reader") is not None
