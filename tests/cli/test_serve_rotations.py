"""Rotation after a breach through ``guilder serve --workers 2``: out in both processes at once."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.serving import Running, environment, run, serving
from tests.support.constants import ADA
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

ROOT = ADA | {"email": "root@example.test"}


def post(running: Running, path: str, body: object, token: str = "") -> Any:
    headers = {"connection": "close"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    answer = running.client.post(f"{running.base}/api/v1/{path}", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def statuses(running: Running, token: str, times: int = 40) -> set[int]:
    """What a token is answered on connections of their own, so that either process has them."""
    headers = {"connection": "close", "authorization": f"Bearer {token}"}
    return {
        running.client.get(f"{running.base}/api/v1/users/me", headers=headers).status_code
        for _ in range(times)
    }


def refusing(running: Running) -> set[int]:
    """Which processes have refused a token, seen from their log."""
    mine = [one for one in running.lines() if one.get("route") == "/api/v1/users/me"]
    return {one["process"] for one in mine if one["status"] == 401}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("database_url", "alone"), [("sqlite", True), ("postgres", False)], indirect=["database_url"]
)
def test_old_tokens_are_refused_by_every_process_within_a_second(
    database_url: str, tmp_path: Path, alone: bool
) -> None:
    values = environment(database_url, tmp_path)
    given = [part for name, value in ROOT.items() for part in (f"--{name}", value)]
    assert run(tmp_path, values, "create-admin", *given).returncode == 0
    with serving(tmp_path, values, "--workers", "2") as running:
        root = post(running, "sessions", ROOT)["access_token"]
        user = post(running, "users", ADA)
        ada = post(running, "sessions", ADA)["access_token"]
        assert statuses(running, ada) == {200}
        whom = f"users/{user['id']}" if alone else "security"
        post(running, f"admin/{whom}/rotations", {"reason": "A laptop was stolen"}, root)
        time.sleep(1.0)
        assert statuses(running, ada) == {401}
        again = post(running, "sessions", ADA)["access_token"]
        assert statuses(running, again) == {200}
        wait_until(lambda: len(refusing(running)) == 2)
