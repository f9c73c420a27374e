"""What a stranger is refused is not written down: they may ask a million times."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from guilder.db.engine import is_sqlite, sqlite_files
from guilder.tables import metadata
from tests.db import owner
from tests.support.app import app_on, started
from tests.support.constants import API, PASSWORD
from tests.support.logins import bearer, signed_up
from tests.support.sizes import tell

TOKEN = {"token": "t" * 43}
NOBODY = {"email": "nobody@example.test"}
DEAD: dict[str, dict[str, Any]] = {
    "/tokens": {"refresh_token": "t" * 43},
    "/auth/revoke": TOKEN,
    "/email-verifications": TOKEN,
    "/email-verification-tokens": NOBODY,
    "/password-reset-tokens": NOBODY,
    "/password-resets": {**TOKEN, "new_password": PASSWORD},
    "/factor-removals": TOKEN,
    "/email-changes": TOKEN,
    "/email-change-reversals": {**TOKEN, "new_password": PASSWORD},
    "/passkeys/challenges": {},
}
"""What anybody may post, with what is worth nothing."""
BOUNDED = {
    "/users": "makes a login, ten a minute",
    "/auth/signup": "makes a login, ten a minute",
    "/sessions": "wrong ones are in the trail, 200 a day an address",
    "/auth/login": "the same",
    "/passkeys/sessions": "the same",
}
"""What leaves rows, and why there are few of them."""
TIMES = 40


async def stored(url: str) -> dict[str, int]:
    """How many rows each table has."""
    return await owner.counts(url, *sorted(metadata.tables))


async def size(url: str) -> int:
    """How many bytes the bank takes: files and log on SQLite, tables with indexes elsewhere.

    What PostgreSQL's own vacuuming writes beside them is not a stranger's doing.
    """
    if is_sqlite(url):
        return sum(path.stat().st_size for path in sqlite_files(url) if path.exists())
    total = (
        "SELECT sum(pg_relation_size(oid)) FROM pg_class"
        " WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
    )
    return int((await owner.rows(url, total))[0][0])


async def test_every_way_of_a_stranger_is_known(app: FastAPI) -> None:
    """A new one has to be put into one of the two tables."""
    public = {
        path.removeprefix(API)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if method != "get" and operation.get("security") == []
    }
    assert public == DEAD.keys() | BOUNDED.keys()


@pytest.mark.parametrize("path", DEAD)
async def test_what_is_worth_nothing_leaves_no_row(
    database_url: str, tmp_path: Path, path: str
) -> None:
    app = app_on(database_url, tmp_path, rate_limits=False)
    async with started(app) as client:
        await signed_up(client)
        before = await stored(database_url)
        answers = [await client.post(API + path, json=DEAD[path]) for _ in range(2)]
        assert await stored(database_url) == before
    assert len({answer.status_code for answer in answers}) == 1
    assert answers[0].status_code != 422, answers[0].text


async def ended(client: httpx.AsyncClient) -> str:
    """The refresh token of a session that has ended."""
    login = await signed_up(client)
    await client.delete(f"{API}/sessions/current", headers=bearer(login))
    return str(login["refresh_token"])


async def test_a_million_refused_refreshes_write_nothing(database_url: str, tmp_path: Path) -> None:
    """Two rows each were 1.1 GB a day and address, at the 1,200 a minute that were let through."""
    app = app_on(database_url, tmp_path, rate_limits=False)
    async with started(app) as client:
        dead = await ended(client)
        rows, taken = await stored(database_url), await size(database_url)
        for number in range(TIMES):
            token = dead if number % 2 else f"{number:043}"
            answer = await client.post(f"{API}/tokens", json={"refresh_token": token})
            assert answer.json()["code"] == "refresh_invalid"
        grown = await size(database_url) - taken
        assert await stored(database_url) == rows
    tell("bytes written", for_refused=TIMES, bytes=grown, for_a_million=grown * 1_000_000 // TIMES)
    assert grown == 0
