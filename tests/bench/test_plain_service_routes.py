"""The plain service answers what is measured: all of it, in order, and to the owner alone."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.plain_books import Seeded, books_are_sound, seed
from bench.plain_models import open_sessions
from bench.plain_service import app
from bench.plain_sessions import open_read_session, open_session
from bench.stage import FUNDS, PAGE
from tests.support import postgres

LOGIN = ("bench@example.com", "correct horse battery staple")
LINES = 120


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, once on either engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/plain.sqlite3"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    url = server.clone("template1")
    yield url
    server.drop(url)


@dataclass
class Plain:
    """The service over a seeded database, and its user."""

    url: str
    seeded: Seeded
    client: httpx.AsyncClient

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"/api/v1/accounts/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def plain(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plain]:
    seeded = await seed(empty_url, LOGIN, 3, LINES, pages=True)
    writers, readers = open_sessions(empty_url)

    async def to_write() -> AsyncIterator[Any]:
        async with writers() as session:
            yield session

    async def to_read() -> AsyncIterator[Any]:
        async with readers() as session:
            yield session

    monkeypatch.setitem(app.dependency_overrides, open_session, to_write)
    monkeypatch.setitem(app.dependency_overrides, open_read_session, to_read)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://plain") as client:
        body = {"email": LOGIN[0], "password": LOGIN[1]}
        token = (await client.post("/api/v1/sessions", json=body)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield Plain(empty_url, seeded, client)
    await writers.kw["bind"].dispose()


async def pages(plain: Plain, account: str) -> list[list[dict[str, Any]]]:
    """All pages of an account, by the cursors."""
    page = await plain.get(f"{account}/transactions", limit=PAGE)
    found = [page["items"]]
    while page["next_cursor"]:
        page = await plain.get(f"{account}/transactions", limit=PAGE, cursor=page["next_cursor"])
        found.append(page["items"])
    return found


@pytest.mark.heavy
async def test_reads_agree_with_each_other_and_with_what_is_booked(plain: Plain) -> None:
    payer, payee, _ = plain.seeded.accounts
    body = {"from_account_id": payer, "to_account_id": payee, "amount": 250, "description": "Rent"}
    booked = await plain.client.post(
        "/api/v1/transfers", json=body, headers={"Idempotency-Key": "1"}
    )
    assert booked.status_code == 201
    account = await plain.get(payer)
    assert account["balance"] == booked.json()["balance_after"]
    first, *rest = await pages(plain, payer)
    assert len(first) == PAGE
    lines = [line for page in (first, *rest) for line in page]
    assert len({line["id"] for line in lines}) == len(lines) > PAGE
    assert lines[0]["type"] == "debit"
    assert lines[0]["description"] == "Rent"
    assert lines[0]["counterparty"]["account_id"] == payee
    assert [lines[-1][name] for name in ("type", "amount", "description")] == [
        "credit",
        FUNDS,
        "Deposit",
    ]
    statement = await plain.get(f"{payer}/statement", month=time.strftime("%Y-%m", time.gmtime()))
    assert statement["transactions"] == lines[::-1]
    assert statement["starting_balance"] == 0
    assert statement["ending_balance"] == account["balance"] == lines[0]["balance_after"]
    assert statement["total_credits"] - statement["total_debits"] == account["balance"]
    assert await books_are_sound(plain.url)


@pytest.mark.heavy
async def test_the_statement_has_the_lines_that_guilders_has(plain: Plain) -> None:
    account = plain.seeded.statement_account
    this = await plain.get(f"{account}/statement", month=time.strftime("%Y-%m", time.gmtime()))
    assert this["transaction_count"] == len(this["transactions"]) == LINES
    later = await plain.get(f"{account}/statement", month="2999-12")
    assert later["transactions"] == []
    assert later["starting_balance"] == later["ending_balance"] == this["ending_balance"]


@pytest.mark.heavy
async def test_accounts_are_opened_and_are_their_owners_alone(plain: Plain) -> None:
    body = {"type": "savings", "currency": "USD"}
    opened = await plain.client.post("/api/v1/accounts", json=body)
    assert opened.status_code == 201
    assert opened.json()["balance"] == 0
    assert await plain.get(opened.json()["id"]) == opened.json()
    [deposit] = (await pages(plain, plain.seeded.accounts[0]))[-1][-1:]
    banks_own = deposit["counterparty"]["account_id"]
    for path in ("", "/transactions", "/statement?month=2026-11"):
        answer = await plain.client.get(f"/api/v1/accounts/{banks_own}{path}")
        assert answer.status_code == 404
    del plain.client.headers["Authorization"]
    assert (await plain.client.get(f"/api/v1/accounts/{banks_own}")).status_code == 401
