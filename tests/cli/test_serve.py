"""``guilder serve`` as a process: start, several workers, stop."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.cli.serving import Running, command, environment, free_port, run, serving
from tests.support.constants import ADA
from tests.support.sizes import postgres_in_ci
from tests.support.waiting import LONG, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def values(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(sqlite_url, tmp_path)


def slow_request(running: Running) -> socket.socket:
    """A connection with a request whose body has only begun: the bank has asked to go on."""
    body = json.dumps(ADA).encode()
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=LONG)
    head = (
        b"POST /api/v1/users HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    connection.sendall(head)
    assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body[:5])
    return connection


def stops_listening(running: Running) -> None:
    """Wait until it takes no connection any more."""

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", running.port)) != 0

    wait_until(refused)


@postgres_in_ci
def test_it_starts_answers_stops_and_all_is_still_there(database_url: str, tmp_path: Path) -> None:
    values = environment(database_url, tmp_path)
    with serving(tmp_path, values) as running:
        assert running.get("/health").json()["status"] == "healthy"
        made = httpx.post(f"{running.base}/auth/signup", json=ADA)
        assert made.status_code == 201
        assert running.stop() == 0
        with pytest.raises(httpx.ConnectError):
            running.get("/health")
        events = [line["event"] for line in running.lines()]
        assert events[0] == "serving"
        assert events[-1] == "stopped"
        request = next(line for line in running.lines() if line.get("status") == 201)
        assert request["route"] == "/auth/signup"
        assert request["request_id"] == made.headers["x-request-id"]
        text = running.log.read_text()
        assert ADA["password"] not in text
        assert made.json()["access_token"] not in text
    with serving(tmp_path, values) as running:
        answer = httpx.post(f"{running.base}/api/v1/sessions", json=ADA)
        assert (answer.status_code, answer.json()["user"]["id"]) == (201, made.json()["id"])
        assert running.stop(signal.SIGINT) == 0


@pytest.mark.heavy
def test_a_request_that_has_begun_is_finished(values: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path, values) as running, slow_request(running) as connection:
        running.process.send_signal(signal.SIGTERM)
        stops_listening(running)
        assert running.process.poll() is None
        connection.sendall(json.dumps(ADA).encode()[5:])
        assert connection.recv(4096).startswith(b"HTTP/1.1 201")
        assert running.process.wait(LONG) == 0


@pytest.mark.heavy
def test_a_request_that_never_ends_does_not_hold_the_stop_up(
    values: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path, values) as running, slow_request(running):
        begun = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun > 3  # it is given some time


@postgres_in_ci
@pytest.mark.heavy
def test_several_workers_answer_are_replaced_and_stop_together(
    database_url: str, tmp_path: Path
) -> None:
    values = environment(database_url, tmp_path)
    with serving(tmp_path, values, "--workers", "2") as running:
        wait_until(lambda: running.answering() == running.workers())
        first = running.workers()
        assert len(first) == 2
        assert running.answering() == first
        # The question itself may be in or not, and the last lines of the log may be on their way.
        wait_until(lambda: abs(counted(running) - running.requests()) <= 1)
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        while victim in running.workers() or len(running.workers()) < 2:
            assert running.get("/health/live").status_code == 200
        assert running.get("/health").status_code == 200
        assert running.stop() == 0
        ended = [line for line in running.lines() if line["event"] == "worker ended"]
        assert [(line["pid"], line["exit_status"]) for line in ended] == [(victim, -9)]


def counted(running: Running) -> float:
    """How many requests the metrics of all workers have."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in running.get("/metrics").text.splitlines()
        if line.startswith("guilder_http_requests_total{")
    )


@pytest.mark.heavy
def test_workers_go_when_their_supervisor_is_killed(values: dict[str, str], tmp_path: Path) -> None:
    """And nothing is left where all programs put their temporary files."""
    (tmp_path / "tmp").mkdir()
    values["TMPDIR"] = str(tmp_path / "tmp")
    with serving(tmp_path, values, "--workers", "2") as running:
        workers = running.workers()
        running.process.kill()
        running.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.heavy
def test_a_port_that_is_taken_is_told_in_a_line(values: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path, values) as running:
        for workers in ("1", "2"):
            done = run(tmp_path, values, "serve", "--port", str(running.port), "--workers", workers)
            assert done.returncode == 3
            assert done.stderr.splitlines() == [
                f"guilder: cannot listen on 127.0.0.1 port {running.port}: Address already in use"
            ]


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.heavy), "2"])
def test_a_database_that_is_away_is_told_in_a_line(tmp_path: Path, workers: str) -> None:
    url = f"postgresql://nobody:canary@127.0.0.1:{free_port()}/nothing"
    values = environment(url, tmp_path, DATABASE_WAIT_SECONDS="0")
    done = run(tmp_path, values, "serve", "--port", "0", "--workers", workers)
    assert done.returncode == 3
    shown = url.replace("nobody:canary@", "")
    assert done.stderr == f"guilder: {shown} cannot be reached: Connection refused\n"


@pytest.mark.heavy
def test_demo_prints_its_logins_and_serves_them(values: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path, values, name="demo") as running:
        printed = running.log.read_text()
        email, password = next(
            line.split() for line in printed.splitlines() if line.startswith("  ")
        )
        answer = httpx.post(
            f"{running.base}/auth/login", data={"username": email, "password": password}
        )
        assert answer.status_code == 200
        assert running.stop() == 0


@pytest.mark.heavy
def test_the_jobs_can_run_apart(values: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "jobs.log").open("wb") as output:
        jobs = subprocess.Popen(command("worker"), env=values, cwd=tmp_path, stderr=output)
    try:
        with serving(tmp_path, values, "--no-jobs") as running:
            assert running.get("/health").status_code == 200
            assert running.stop() == 0
        assert jobs.poll() is None
        wait_until(lambda: '"event":"working"' in (tmp_path / "jobs.log").read_text())
        jobs.terminate()
        assert jobs.wait(LONG) == 0
    finally:
        jobs.kill()
        jobs.wait()
    assert '"event":"working"' in (tmp_path / "jobs.log").read_text()
