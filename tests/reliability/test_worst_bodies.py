"""Bodies that are made to stop the bank: at the worst that each route takes, others are served.

Prints the table of the worst body of each route: a health check's median under four clients that
send nothing else, and memory above that of a bank at rest.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from guilder.api.routing import requirements_of
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from tests.cli.serving import Running, environment, run, serving
from tests.support.attack import Toll, ask, attackers, forget_peak, health_checked, resident_mb
from tests.support.bodies import ONE, OTHER, worst_bodies
from tests.support.constants import API, PASSWORD
from tests.support.sizes import tell

pytestmark = [pytest.mark.integration, pytest.mark.heavy]

MEDIAN_MS = 50.0
MEMORY_MB = 100.0
CLIENTS = 4
SECONDS = 0.6
ADMIN = "admin@bank.test"
LINE = "{route:<46} {kind:<24} {size:>9} {median:>7} {memory:>7}  {statuses}"

BOUNDS = "import guilder.api.bounds as b, guilder.api.routing as r; b.SPARE_VALUES = 10**9"
DEFECTS = {
    "as large as before": f"{BOUNDS}; r.MAX_BODY = 1_000_000",
    "in one piece": f"{BOUNDS}; import guilder.api.turns as t; t.SLICE_SECONDS = 10**9",
}
"""Planted into the server as Python starts."""


@dataclass(frozen=True)
class BodyRoute:
    """A route that reads a body, and how much of it."""

    method: str
    path: str
    most_bytes: int
    most_values: int

    def worst(self) -> list[tuple[str, bytes]]:
        return list(worst_bodies(self.most_bytes, self.most_values))


def body_routes() -> list[BodyRoute]:
    found = []
    app = create_app(Settings.model_validate({"env": "test"}))
    for context in iter_route_contexts(app.routes):
        if not (isinstance(context.original_route, APIRoute) and context.include_in_schema):
            continue
        needs = requirements_of(context)
        if context.body_field is not None or (context.openapi_extra or {}).get("requestBody"):
            path = (context.path_format or "").replace("{user_id}", "0190a000-0000-7000-8000-0")
            method = min(context.methods or ())
            found.append(BodyRoute(method, path, needs.most_bytes, needs.most_values))
    return found


@contextmanager
def a_bank(url: str, folder: Path, defect: str = "") -> Iterator[Running]:
    values = environment(url, folder, RATE_LIMITS="off", LOG_LEVEL="warning")
    run(folder, values, "create-admin", "--email", ADMIN, "--password", PASSWORD)
    if defect:
        (folder / "sitecustomize.py").write_text(defect)
        values["PYTHONPATH"] = str(folder)
    with serving(folder, values) as running:
        yield running


def signed_in(running: Running) -> dict[str, str]:
    given = {"email": ADMIN, "password": PASSWORD}
    answer = running.client.post(f"{running.base}{API}/sessions", json=given)
    assert answer.status_code == 201, answer.text
    return {
        "Authorization": f"Bearer {answer.json()['access_token']}",
        "Content-Type": "application/json",
    }


def attacked(
    running: Running, route: BodyRoute, headers: dict[str, str], body: bytes, idle_mb: float
) -> Toll:
    toll, pid = Toll(), running.process.pid

    def one() -> None:
        toll.statuses[ask(running.port, route.method, route.path, headers, body)] += 1

    forget_peak(pid)
    with attackers(CLIENTS, one):
        health_checked(running.port, toll, SECONDS)
    toll.memory_mb = resident_mb(pid, "VmHWM") - idle_mb
    return toll


def slowest(
    running: Running, route: BodyRoute, headers: dict[str, str]
) -> tuple[float, str, bytes]:
    """The body that took longest, of all kinds; it is the worst for the loop."""
    timed = []
    for kind, body in route.worst():
        begun = time.perf_counter()
        assert ask(running.port, route.method, route.path, headers, body) < 500, (route, kind)
        timed.append((time.perf_counter() - begun, kind, body))
    return max(timed)


def idle(running: Running, headers: dict[str, str]) -> float:
    """Resident memory of a bank that has worked: the pages that SQLite caches are in memory."""
    accounts = [created(running, headers, "accounts", type="checking", currency="EUR")["id"]
                for _ in range(2)]  # fmt: skip
    created(running, headers, "simulations/deposits", account_id=accounts[0], amount=10**9,
            currency="EUR")  # fmt: skip
    batch = next(one for one in body_routes() if one.path.endswith("/batches"))
    body = dict(batch.worst())["sound transfers"]
    body = body.replace(ONE.encode(), accounts[0].encode())
    body = body.replace(OTHER.encode(), accounts[1].encode())
    for _ in range(8):
        assert ask(running.port, "POST", batch.path, headers, body) == 201
    return resident_mb(running.process.pid)


def created(running: Running, headers: dict[str, str], path: str, **body: object) -> Any:
    answer = running.client.post(f"{running.base}{API}/{path}", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_the_worst_body_of_each_route_stops_nobody(postgres_url: str, tmp_path: Path) -> None:
    with a_bank(postgres_url, tmp_path) as running:
        headers = signed_in(running)
        idle_mb = idle(running, headers)
        tell(LINE.format(route="route", kind="worst body", size="bytes", median="ms", memory="MB",
                         statuses="answers"), idle_mb=round(idle_mb))  # fmt: skip
        broken = []
        for route in body_routes():
            _, kind, body = slowest(running, route, headers)
            toll = attacked(running, route, headers, body, idle_mb)
            line = LINE.format(
                route=f"{route.method} {route.path}", kind=kind, size=len(body),
                median=f"{toll.median_ms:.1f}", memory=f"{toll.memory_mb:.1f}",
                statuses=dict(toll.statuses),
            )  # fmt: skip
            print(line)
            if toll.median_ms > MEDIAN_MS or toll.memory_mb > MEMORY_MB:
                broken.append(line)
            assert all(status < 500 or status == 503 for status in toll.statuses)
    assert not broken


@pytest.mark.parametrize(
    ("defect", "path"),
    [
        ("as large as before", f"{API}/password-resets"),
        ("in one piece", f"{API}/transfers/batches"),
    ],
)
def test_a_server_without_the_bounds_would_not_pass(
    sqlite_url: str, tmp_path: Path, defect: str, path: str
) -> None:
    route = next(one for one in body_routes() if one.path == path)
    wide = BodyRoute(route.method, path, max(route.most_bytes, 999_000), 10**6)
    with a_bank(sqlite_url, tmp_path, DEFECTS[defect]) as running:
        headers = signed_in(running)
        idle_mb = idle(running, headers)
        worst = [
            attacked(running, wide, headers, body, idle_mb)
            for kind, body in wide.worst()
            if kind in ("unknown keys", "texts to normalise", "empty arrays")
        ]
    tell(defect, ms=[round(toll.median_ms) for toll in worst],
         mb=[round(toll.memory_mb) for toll in worst])  # fmt: skip
    assert any(toll.median_ms > MEDIAN_MS or toll.memory_mb > MEMORY_MB for toll in worst)


def test_half_sent_bodies_hold_little_memory(sqlite_url: str, tmp_path: Path) -> None:
    """250 connections that stop in the middle of the largest body; the bank takes what it can."""
    with a_bank(sqlite_url, tmp_path) as running, ExitStack() as connections:
        headers = signed_in(running)
        idle_mb = idle(running, headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        half: list[socket.socket] = []
        forget_peak(running.process.pid)
        for _ in range(250):
            one = connections.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            one.settimeout(5)
            one.sendall(
                f"POST {API}/transfers/batches HTTP/1.1\r\nhost: x\r\n{head}"
                "content-length: 7999999\r\n\r\n".encode()
            )
            one.setblocking(False)
            half.append(one)
        sent = _pour(half, b" " * 500_000, rounds=8)
        toll = Toll()
        health_checked(running.port, toll, 0.5)
        toll.memory_mb = resident_mb(running.process.pid, "VmHWM") - idle_mb
        tell("half-sent bodies", sent_mb=sent // 1_000_000, mb=round(toll.memory_mb),
             ms=round(toll.median_ms, 1))  # fmt: skip
        assert sent > 8_000_000
        assert toll.memory_mb < MEMORY_MB
        assert toll.median_ms < MEDIAN_MS
        body = json.dumps({"email": ADMIN, "password": PASSWORD}).encode()
        assert ask(running.port, "POST", f"{API}/sessions", headers, body) == 201


def _pour(connections: list[socket.socket], part: bytes, rounds: int) -> int:
    """Send to each what it takes; how many bytes went."""
    sent = 0
    for _ in range(rounds):
        for one in connections:
            try:
                sent += one.send(part)
            except (BlockingIOError, ConnectionError):
                continue
        time.sleep(0.05)
    return sent
