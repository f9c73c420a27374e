"""What a start waits for, and what it says when it cannot go on: each in a sentence of its own."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import pytest
import typer

from guilder.cli.troubles import say
from guilder.infra.process import database_wait
from tests.cli.serving import Running, command, environment, free_port, guilder, serving
from tests.support import postgres
from tests.support.waiting import LONG

pytestmark = pytest.mark.integration

SOMEBODY = 12_345


@contextmanager
def silent_server() -> Iterator[int]:
    """Somebody who takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_postgres_that_is_silent_is_told_from_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guilder.db.postgres.CONNECT_TIMEOUT_SECONDS", 0.2)
    with silent_server() as port:
        done = guilder(
            f"postgresql://u:canary@127.0.0.1:{port}/bank",
            tmp_path,
            "migrate",
            DATABASE_WAIT_SECONDS="0",
        )
    assert done.exit_code == 3
    assert done.stderr == (
        f"guilder: postgresql://127.0.0.1:{port}/bank does not answer: nothing came in 0.2 s\n"
    )


def test_a_database_that_is_away_at_the_start_is_waited_for_and_told_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database_wait, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(database_wait, "TELL_SECONDS", 0.4)
    port = free_port()
    url = f"postgresql://u:canary@127.0.0.1:{port}/bank"
    done = guilder(url, tmp_path, "migrate", DATABASE_WAIT_SECONDS="1")
    assert done.exit_code == 3
    (last,) = done.stderr.splitlines()
    shown = f"postgresql://127.0.0.1:{port}/bank"
    assert last == f"guilder: {shown} cannot be reached: Connection refused"
    told = capfd.readouterr().err.splitlines()
    assert 2 <= len(told) <= 3
    assert all('"waiting for the database"' in line for line in told)
    assert "canary" not in done.output + "".join(told)


def test_a_start_goes_on_when_its_database_has_come(
    postgres_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As after a power cut, when both machines start at once."""
    there = Path(parse_qs(urlsplit(postgres_url).query)["host"][0])
    away = tmp_path / "socket"
    coming = threading.Timer(0.3, lambda: away.symlink_to(there))
    coming.start()
    done = guilder(postgres_url.replace(str(there), str(away)), tmp_path, "migrate")
    assert (done.exit_code, done.stdout) == (0, "Nothing to do.\n")
    (told,) = capfd.readouterr().err.splitlines()
    assert '"seconds_left":30' in told
    coming.join()


def test_what_waiting_would_not_mend_is_told_at_once(postgres_url: str, tmp_path: Path) -> None:
    """A database that was never made, a password that is wrong."""
    done = guilder(postgres_url.replace("/t_", "/no_"), tmp_path, "migrate")
    assert done.exit_code == 3
    assert done.stderr.startswith("guilder: the database cannot be used: database")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.heavy
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_of_several_first_starts_at_once_one_makes_the_bank_and_the_others_wait(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: postgres.Server | None = None
    url = ""
    if engine == "postgres":
        server = request.getfixturevalue("postgres_server")
        assert server is not None
        url = server.clone("template0")
    values = environment(url, tmp_path)
    with ThreadPoolExecutor(3) as several, ExitStack() as all_of_them:

        def start(number: int) -> Running:
            own = serving(tmp_path, values, log=f"{number}.log")
            return all_of_them.enter_context(own)

        running = list(several.map(start, range(3)))
        for one in running:
            assert one.get("/health").status_code == 200
            assert one.stop() == 0
            assert "Traceback" not in one.log.read_text()
    assert len(list((tmp_path / "data" / "keys").iterdir())) == 2
    if server is not None:
        server.drop(url)


def test_a_data_folder_that_cannot_be_made_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = guilder("", tmp_path, "migrate", DATA_DIR=str(tmp_path / "file" / "data"))
    assert done.exit_code == 3
    assert done.stderr == (
        f"guilder: the folder {tmp_path}/file/data cannot be made: Not a directory\n"
    )


@contextmanager
def as_somebody() -> Iterator[None]:
    """Without root's rights, where the tests have them."""
    before = os.geteuid()
    os.seteuid(SOMEBODY if before == 0 else before)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others can look into, unlike those above ``tmp_path``."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make others' files")
def test_a_database_that_is_somebody_elses_is_told_with_both_users(open_folder: Path) -> None:
    assert guilder("", open_folder, "migrate").exit_code == 0
    data = open_folder / "data"
    os.chown(data, SOMEBODY, SOMEBODY)  # but not what is in it
    with as_somebody():
        done = guilder("", open_folder, "migrate")
    assert done.exit_code == 3
    assert done.stderr == (
        f"guilder: {data}/guilder.db cannot be written by user {SOMEBODY}, for it is user 0's: "
        "Permission denied\n"
    )


@pytest.mark.heavy
def test_a_checkout_that_is_read_only_is_told(tmp_path: Path) -> None:
    """The data folder would be made in it, since no setting says where else."""
    values = environment("", tmp_path)
    del values["GUILDER_DATA_DIR"], values["GUILDER_DATABASE_URL"]
    mounted = f'mount --bind -o ro {tmp_path} {tmp_path} && cd {tmp_path} && exec "$@"'
    within = ["unshare", "-m", "sh", "-c", mounted, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        [*within, *command("serve", "--port", "0")],
        env=values, capture_output=True, check=False, text=True, timeout=LONG,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == (
        f"guilder: the folder {tmp_path}/data cannot be made: Read-only file system\n"
    )


def test_an_answer_that_cannot_be_printed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(typer.Exit) as ended:
            say("an answer")
    assert ended.value.exit_code == 3
    assert capsys.readouterr().err == (
        "guilder: cannot write to standard output: No space left on device\n"
    )


@pytest.mark.parametrize("arguments", [("verify",), ("audit", "archive", "x.gz")])
def test_every_command_waits_for_a_postgres_that_is_away_and_says_where_and_why(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(database_wait, "AGAIN_SECONDS", 0.05)
    url = f"postgresql://u:canary@127.0.0.1:{free_port()}/bank"
    done = guilder(url, tmp_path, *arguments, DATABASE_WAIT_SECONDS="1")
    assert done.exit_code == 3
    shown = url.replace("u:canary@", "")
    assert done.stderr == f"guilder: {shown} cannot be reached: Connection refused\n"
    assert '"waiting for the database"' in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make others' files")
def test_a_copy_in_a_folder_that_cannot_be_written_is_told_what_to_do(open_folder: Path) -> None:
    assert guilder("", open_folder, "migrate").exit_code == 0
    copy = open_folder / "copy"
    copy.mkdir(mode=0o755)
    shutil.copyfile(open_folder / "data" / "guilder.db", copy / "guilder.db")
    keys = {"SECRET_KEY": "s" * 32, "ENCRYPTION_KEY": "e" * 32}
    with as_somebody():
        done = guilder(f"sqlite:///{copy}/guilder.db", open_folder, "verify", **keys)
    assert done.exit_code == 3
    first, second = done.stderr.splitlines()
    assert first.startswith("guilder: the database cannot be used: ")
    assert "copy the database to a folder that can be written" in second
