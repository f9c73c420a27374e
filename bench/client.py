"""The bench's customer over HTTP: signs up, opens and funds accounts, logs in, pays in bulk.

Only for setting a stage; what is measured is sent by wrk.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import httpx

from bench.load import BATCHES
from bench.server import ServerError
from bench.stage import FUNDS, Pair, fan, ring

API = "/api/v1"
EMAIL = "bench@example.com"
PASSWORD = "correct horse battery staple"
TOKEN_SECONDS = 240
AT_ONCE = 16
FILL_BATCH = 1000
FILL_AT_ONCE = 4


@dataclass
class Customer:
    """One user with many accounts, and a folder where wrk finds the ids and tokens."""

    folder: Path
    logins: int
    accounts: list[str] = field(default_factory=list)
    statement_account: str = ""
    tokens: list[str] = field(default_factory=list)
    logged_in_at: float = 0.0

    def save(self) -> None:
        """Write the files that wrk reads."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "accounts.txt").write_text("\n".join(self.accounts) + "\n")
        (self.folder / "tokens.txt").write_text("\n".join(self.tokens) + "\n")

    def forget_tokens(self) -> None:
        """Make the next `log_in` ask for new tokens: another server may not know these."""
        self.logged_in_at = 0.0

    def log_in(self, base: str) -> None:
        """Log in over HTTP, unless the tokens are still young."""
        if time.monotonic() - self.logged_in_at < TOKEN_SECONDS and self.logged_in_at:
            return
        self.tokens = asyncio.run(self._log_in(base))
        self.logged_in_at = time.monotonic()
        self.save()

    async def _log_in(self, base: str) -> list[str]:
        async with open_client(base) as client:
            found = []
            for _ in range(self.logins):
                body = {"email": EMAIL, "password": PASSWORD}
                answer = await post(client, f"{API}/sessions", body)
                found.append(str(answer["access_token"]))
            return found


def open_client(base: str, token: str | None = None) -> httpx.AsyncClient:
    """Open a client that keeps its connections."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=base, headers=headers, timeout=60)


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST and return the answer; anything but 200 or 201 is an error."""
    answer = await client.post(path, json=body, headers={"Idempotency-Key": str(uuid4())})
    if answer.status_code not in {200, 201}:
        raise ServerError(f"POST {path}: {answer.status_code} {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found


async def in_parallel[T](jobs: Sequence[Callable[[], Awaitable[T]]], at_once: int) -> list[T]:
    """Run jobs, some at a time, and return their answers in order."""
    gate = asyncio.Semaphore(at_once)

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await job()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(job)) for job in jobs]
    return [task.result() for task in tasks]


def populate(base: str, customer: Customer, accounts: int, statement_lines: int) -> None:
    """Sign up, open and fund accounts, and give one more account a month of so many lines."""
    asyncio.run(_sign_up(base))
    customer.log_in(base)
    asyncio.run(_open_accounts(base, customer, accounts, statement_lines))
    customer.save()


async def _sign_up(base: str) -> None:
    async with open_client(base) as client:
        body = {"email": EMAIL, "password": PASSWORD, "full_name": "Bench"}
        await post(client, f"{API}/auth/signup", body)


async def _open_accounts(base: str, customer: Customer, accounts: int, lines: int) -> None:
    async with open_client(base, customer.tokens[0]) as client:

        async def open_one() -> str:
            answer = await post(client, f"{API}/accounts", {"type": "checking", "currency": "USD"})
            account = str(answer["id"])
            deposit = {"account_id": account, "amount": FUNDS, "currency": "USD"}
            await post(client, f"{API}/simulations/deposits", deposit)
            return account

        *customer.accounts, customer.statement_account = await in_parallel(
            [open_one] * (accounts + 1), AT_ONCE
        )
        await _post_batches(client, fan(customer.statement_account, customer.accounts, lines))


async def _post_batches(client: httpx.AsyncClient, pairs: Sequence[Pair[str]]) -> None:
    """Book transfers in batches, some at a time."""
    batches = [pairs[start : start + FILL_BATCH] for start in range(0, len(pairs), FILL_BATCH)]
    await in_parallel([partial(_post_batch, client, batch) for batch in batches], FILL_AT_ONCE)


async def _post_batch(client: httpx.AsyncClient, pairs: Sequence[Pair[str]]) -> None:
    transfers = [
        {
            "from_account_id": payer,
            "to_account_id": payee,
            "amount": 100 + number % 900,
            "currency": "USD",
            "idempotency_key": str(uuid4()),
        }
        for number, (payer, payee) in enumerate(pairs)
    ]
    answer = await post(client, BATCHES, {"transfers": transfers})
    if answer["rejected"] or answer["accepted"] != len(transfers):
        raise ServerError(f"a batch was not accepted whole: {answer['results'][:3]}")


def fill(base: str, customer: Customer, count: int) -> None:
    """Book exactly `count` random transfers by bulk posting."""
    customer.log_in(base)
    asyncio.run(_fill(base, customer, count))


async def _fill(base: str, customer: Customer, count: int) -> None:
    random = Random(count)
    sizes = [FILL_BATCH] * (count // FILL_BATCH) + [count % FILL_BATCH] * bool(count % FILL_BATCH)
    async with open_client(base, customer.tokens[0]) as client:

        async def one(size: int) -> None:
            pairs = [tuple(random.sample(customer.accounts, 2)) for _ in range(size)]
            await _post_batch(client, [(payer, payee) for payer, payee in pairs])

        await in_parallel([partial(one, size) for size in sizes], FILL_AT_ONCE)


def fill_pages(base: str, customer: Customer) -> None:
    """Give each account more lines than a page has, the same ones in every run."""
    customer.log_in(base)
    asyncio.run(_fill_pages(base, customer))


async def _fill_pages(base: str, customer: Customer) -> None:
    async with open_client(base, customer.tokens[0]) as client:
        await _post_batches(client, ring(customer.accounts))


def get(base: str, customer: Customer, path: str) -> httpx.Response:
    """GET once, to see what a route answers before it is measured."""
    customer.log_in(base)
    headers = {"Authorization": f"Bearer {customer.tokens[0]}"}
    return httpx.get(base + path, headers=headers, timeout=60)
