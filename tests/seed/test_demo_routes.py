"""The demo bank: what the reference shows can be tried in it as it stands."""

from pathlib import Path
from typing import Any

from guilder.seed.demo import seed_demo
from tests.support.app import app_on, bank_of, started
from tests.support.constants import API
from tests.support.declared import document


def shown(path: str) -> dict[str, Any]:
    """The body that a page for trying things out begins with."""
    asked = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    example: dict[str, Any] = asked["example"]
    return example


async def test_the_examples_of_the_reference_work_in_the_demo_bank(
    database_url: str, tmp_path: Path
) -> None:
    app = app_on(database_url, tmp_path)
    async with started(app) as client:
        await seed_demo(bank_of(app))
        assert not await seed_demo(bank_of(app))
        login = await client.post(f"{API}/auth/login", json=shown(f"{API}/auth/login"))
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        for path in ("/transfers", "/transfers/batches", "/simulations/deposits", "/accounts"):
            answer = await client.post(f"{API}{path}", json=shown(f"{API}{path}"))
            assert answer.status_code == 201, (path, answer.text)
            assert answer.json().get("rejected", 0) == 0, answer.text
        assert (await client.get(f"{API}/transfers", params={"limit": 1})).json()["has_more"]
