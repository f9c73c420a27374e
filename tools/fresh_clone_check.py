"""Shows that the README's two commands work on an empty machine, as `make ci` does last.

Clones the last commit into an empty folder, with an empty home and no virtual environment. There it
runs `make run` (sign up, log in, stop, start again, log in again), and `make test` on some tests.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST_START_SECONDS = 300
SECOND_START_SECONDS = 15
STOP_SECONDS = 15
TEST_SECONDS = 600
SOME_TESTS = "tests/core tests/db/test_engine_commands.py tests/test_system_routes.py"
LOGIN = {"email": "fresh.clone@example.com", "password": "a long enough passphrase"}
# What of our own environment would make the machine less empty than it should be.
LEFT_OUT = (
    "VIRTUAL_ENV",
    "PYTHON",
    "PYTEST",
    "COV_",
    "COVERAGE",
    "MAKE",
    "MFLAGS",
    "GUILDER_",
    "XDG_",
)


class Failed(Exception):
    """A step did not do what it should; the message is for people."""


def say(text: str) -> None:
    print(f"fresh clone: {text}", flush=True)


def empty_machine(home: Path) -> dict[str, str]:
    """Return the environment of a newcomer: an empty home, no virtual environment."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(LEFT_OUT)}
    folders = environment.get("PATH", os.defpath).split(os.pathsep)
    usual = [folder for folder in folders if not (Path(folder).parent / "pyvenv.cfg").exists()]
    return environment | {"HOME": str(home), "PATH": os.pathsep.join(usual)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(url: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
    """Return status and JSON of a GET, or of a POST of `body`; status 0 when nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, {"body": refused.read().decode(errors="replace")}
    except OSError:
        return 0, {}


def expect(status: int, url: str, body: dict[str, str]) -> None:
    got, answer = call(url, body)
    if got != status:
        raise Failed(f"POST {url} answered {got}, not {status}: {answer}")


@contextmanager
def served(clone: Path, environment: dict[str, str], patience_seconds: int) -> Iterator[str]:
    """Run `make run` until it is ready, yield its address, and stop it as a supervisor would."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    started = time.monotonic()
    server = subprocess.Popen(
        ["make", "run"],
        cwd=clone,
        env=environment | {"GUILDER_PORT": str(port)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while call(f"{address}/health/ready")[0] != 200:
            if server.poll() is not None:
                raise Failed(f"`make run` ended with status {server.returncode}")
            if time.monotonic() - started > patience_seconds:
                raise Failed(f"`make run` was not ready after {patience_seconds} s")
            time.sleep(0.1)
        say(f"ready after {time.monotonic() - started:.1f} s")
        yield address
        server.send_signal(signal.SIGTERM)
        stopped = time.monotonic() + STOP_SECONDS
        while call(f"{address}/health/live")[0] or server.poll() is None:
            if time.monotonic() > stopped:
                raise Failed(f"still running {STOP_SECONDS} s after SIGTERM")
            time.sleep(0.1)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def check_run(clone: Path, environment: dict[str, str]) -> None:
    say("`make run` for the first time")
    with served(clone, environment, FIRST_START_SECONDS) as address:
        expect(201, f"{address}/api/v1/users", LOGIN)
        expect(201, f"{address}/api/v1/sessions", LOGIN)
        say("signed up and logged in")
    say("`make run` for the second time")
    with served(clone, environment, SECOND_START_SECONDS) as address:
        expect(201, f"{address}/api/v1/sessions", LOGIN)
        expect(409, f"{address}/api/v1/users", LOGIN)
        say("the user is still there")


def check_test(clone: Path, environment: dict[str, str]) -> None:
    say(f"`make test` on {SOME_TESTS}")
    command = ["make", "test", f"PYTEST_ARGS={SOME_TESTS}"]
    done = subprocess.run(
        command,
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=TEST_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Failed(f"`make test` ended with status {done.returncode}")


def main() -> int:
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="guilder-fresh-"))
    clone, home = folder / "guilder", folder / "home"
    home.mkdir()
    try:
        if subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=ROOT, check=False).returncode:
            say("note: uncommitted changes are not part of the clone")
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
        environment = empty_machine(home)
        check_run(clone, environment)
        check_test(clone, environment)
    except (Failed, subprocess.SubprocessError) as failure:
        say(f"FAILED: {failure}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"both commands work, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
