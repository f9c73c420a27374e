"""``guilder keys`` and keys that change under a running bank."""

import json
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from guilder.cli import app
from guilder.core.clock import FixedClock, SystemClock
from guilder.infra.security.secrets import FolderSecrets, new_secret
from guilder.infra.security.tokens import AccessTokens
from tests.cli.serving import Running, environment, run, serving
from tests.support.app import PRODUCTION
from tests.support.constants import API, PASSWORD
from tests.support.waiting import LONG, wait_until


def guilder(*arguments: str, status: int = 0, **settings: str) -> Result:
    env = {f"GUILDER_{name.upper()}": value for name, value in settings.items()}
    done = CliRunner().invoke(app, arguments, env=env)
    assert done.exit_code == status, (done.output, done.stderr, done.exception)
    return done


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUILDER_LOG_FORMAT", "json")


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(guilder("keys", "list", "--json").stdout)
    return found


def uses(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["use"], row["state"]) for row in found]


def secrets_in(folder: Path) -> list[str]:
    return [path.read_text() for path in (folder / "data" / "keys").iterdir()]


@pytest.mark.usefixtures("elsewhere")
def test_keys_are_listed_by_id_age_and_state_and_never_shown(tmp_path: Path) -> None:
    first = rows()
    assert uses(first) == [("signing", "current"), ("encryption", "current")]
    assert all(0 <= row["age_seconds"] < 300 for row in first)
    said = guilder("keys", "rotate").stdout
    second = rows()
    assert uses(second) == [
        ("signing", "next"), ("signing", "current"), ("encryption", "next"),
        ("encryption", "current"),
    ]  # fmt: skip
    assert f"The new signing key is {second[0]['id']}." in said
    assert f"The new encryption key is {second[2]['id']}." in said
    said += guilder("keys", "list").stdout + json.dumps(first + second)
    made = secrets_in(tmp_path)
    assert len(made) == 4
    assert [one for one in made if one in said or one[:16] in said] == []


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("use", ["signing", "encryption"])
def test_one_kind_of_key_is_rotated_alone(use: str) -> None:
    guilder("keys", "rotate", f"--{use}")
    assert Counter(row["use"] for row in rows()) == {"signing": 1, "encryption": 1} | {use: 2}


@pytest.mark.usefixtures("elsewhere")
def test_old_signing_keys_can_be_revoked_and_encryption_keys_cannot(tmp_path: Path) -> None:
    guilder("keys", "rotate")
    before = {row["id"] for row in rows() if row["use"] == "signing"}
    guilder("keys", "rotate", "--signing", "--revoke-old")
    assert uses(rows())[0] == ("signing", "current")
    assert Counter(row["use"] for row in rows()) == {"signing": 1, "encryption": 2}
    assert rows()[0]["id"] not in before
    for wrong in ((), ("--encryption",), ("--signing", "--encryption")):
        assert "goes with --signing alone" in guilder(
            "keys", "rotate", "--revoke-old", *wrong, status=2
        ).stderr  # fmt: skip


@pytest.mark.usefixtures("elsewhere")
def test_keys_of_the_environment_are_listed_and_changed_there() -> None:
    old, new = new_secret().decode(), new_secret().decode()
    keys = f"{new},{old}"
    found = json.loads(guilder("keys", "list", "--json", secret_key=keys).stdout)
    assert uses(found)[:2] == [("signing", "current"), ("signing", "good")]
    assert found[0]["created_at"] is found[0]["age_seconds"] is None
    assert "signing" in guilder("keys", "list", secret_key=keys).stdout
    said = guilder("keys", "rotate", "--signing", status=1, secret_key=keys).stderr
    assert "GUILDER_SECRET_KEY is kept outside of Guilder: put a new key in front" in said
    assert old not in said


@pytest.mark.usefixtures("elsewhere")
def test_keys_in_aws_are_made_listed_and_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, value in PRODUCTION.items():
        if not setting.endswith("_key"):
            monkeypatch.setenv(f"GUILDER_{setting.upper()}", str(value))
    monkeypatch.setenv("GUILDER_SECRETS_URL", "aws-secrets-manager:bank/?region=eu-central-1")
    with mock_aws():
        said = guilder("keys", "list", status=2).stderr
        assert "there is no secret_key; `guilder keys rotate` makes one" in said
        guilder("keys", "rotate")
        assert uses(rows()) == [("signing", "current"), ("encryption", "current")]
        guilder("keys", "rotate", "--signing")
        assert uses(rows())[:2] == [("signing", "next"), ("signing", "current")]
        guilder("keys", "rotate", "--signing", "--revoke-old")
        assert uses(rows()) == [("signing", "current"), ("encryption", "current")]
        import_of_weak(monkeypatch)


def import_of_weak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that somebody else has put there are held to the rules of production."""
    monkeypatch.setattr("guilder.cli.keys.new_secret", lambda: b"a" * 40)
    monkeypatch.setenv("GUILDER_SECRETS_URL", "aws-secrets-manager:other?region=eu-central-1")
    guilder("keys", "rotate")
    said = guilder("keys", "list", status=2).stderr
    assert "GUILDER_SECRET_KEY can be guessed" in said
    assert "GUILDER_ENCRYPTION_KEY must be another key" in said


@pytest.mark.usefixtures("elsewhere")
def test_aws_without_its_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'boto3'", name="boto3")

    monkeypatch.setattr("guilder.bootstrap.importlib.import_module", absent)
    said = guilder("keys", "list", status=2, secrets_url="aws-secrets-manager:bank").stderr
    assert said == "guilder: GUILDER_SECRETS_URL needs boto3: install guilder[aws]\n"


@pytest.mark.usefixtures("elsewhere")
def test_a_short_key_in_the_data_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "data" / "keys").mkdir(parents=True)
    (tmp_path / "data" / "keys" / "secret_key").write_text("half a key")
    said = guilder("keys", "list", status=2).stderr
    assert "a version of secret_key is shorter than 32 bytes" in said
    assert "half" not in said


@dataclass
class Customer:
    """Somebody who calls both servers in turn and never gets anything but what they ask for."""

    bases: list[str]
    email: str
    tokens: dict[str, Any] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    kids: set[str] = field(default_factory=set)

    def sign_up(self) -> None:
        body = {"email": self.email, "password": PASSWORD}
        with httpx.Client(timeout=LONG) as client:
            assert client.post(f"{self.bases[0]}{API}/users", json=body).status_code == 201
            self.tokens = self._log_in(client, self.bases[-1])

    def live(self, until: threading.Event) -> None:
        with httpx.Client(timeout=LONG) as client:
            while not until.is_set():
                for here, there in (self.bases, reversed(self.bases)):
                    self._turn(client, here, there)

    def _turn(self, client: httpx.Client, here: str, there: str) -> None:
        """Refresh here, twice as by a double click; call both; log in there now and then."""
        pair = {"refresh_token": self.tokens["refresh_token"]}
        first = client.post(f"{here}{API}/tokens", json=pair)
        again = client.post(f"{there}{API}/tokens", json=pair)
        self._heard("refresh", first, 201)
        self._heard("double click", again, 201)
        if first.status_code == again.status_code == 201:
            same = first.json()["refresh_token"] == again.json()["refresh_token"]
            self.said["same pair" if same else "other pair"] += 1
            self.tokens = first.json()
        for base in (there, here):
            for answer in (first, again):
                token = answer.json().get("access_token", "")
                headers = {"Authorization": f"Bearer {token}"}
                self._heard("call", client.get(f"{base}{API}/users/me", headers=headers), 200)
        if self.said["turns"] % 5 == 0:
            self._log_in(client, there)
        self.said["turns"] += 1

    def _log_in(self, client: httpx.Client, base: str) -> dict[str, Any]:
        body = {"email": self.email, "password": PASSWORD}
        answer = client.post(f"{base}{API}/sessions", json=body)
        self._heard("login", answer, 201)
        pair: dict[str, Any] = answer.json()
        return pair

    def _heard(self, what: str, answer: httpx.Response, status: int) -> None:
        held = answer.status_code == status
        self.said[what if held else f"{what} {answer.status_code} {answer.text[:200]}"] += 1
        if held and "access_token" in (body := answer.json()):
            self.kids.add(jwt.get_unverified_header(body["access_token"])["kid"])


@contextmanager
def living(customers: list[Customer]) -> Iterator[None]:
    """The customers at work as long as the block lasts."""
    until = threading.Event()
    threads = [threading.Thread(target=one.live, args=(until,)) for one in customers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        until.set()
        for thread in threads:
            thread.join(LONG)


def signed_with(customers: list[Customer]) -> set[str]:
    """The keys of all the tokens that anybody has had."""
    return set.union(*(customer.kids for customer in customers))


@pytest.mark.heavy
def test_rotating_under_load_fails_nobody(postgres_url: str, tmp_path: Path) -> None:
    values = environment(postgres_url, tmp_path, RATE_LIMITS="off")
    with (
        serving(tmp_path, values) as one,
        serving(tmp_path, values) as other,
    ):
        customers = [Customer([one.base, other.base], f"c{n}@bank.test") for n in range(3)]
        for customer in customers:
            customer.sign_up()
        old = customers[0].tokens["access_token"]
        with living(customers):
            for rotations in (1, 2):
                assert run(tmp_path, values, "keys", "rotate").returncode == 0
                wait_until(lambda keys=1 + rotations: len(signed_with(customers)) == keys)  # type: ignore[misc]
            turns = customers[0].said["turns"]
            wait_until(lambda: customers[0].said["turns"] > turns + 1)  # with the newest alone
        said = sum((customer.said for customer in customers), Counter())
        print(dict(said))
        assert said.keys() == {"refresh", "double click", "same pair", "call", "login", "turns"}
        assert len(signed_with(customers)) == 3
        after_rotating(tmp_path, values, one, other, old)


def after_rotating(
    folder: Path, values: dict[str, str], one: Running, other: Running, old: str
) -> None:
    """Old tokens and passwords hold, a revoked key ends the former, and a file says all of it."""
    bearer = {"Authorization": f"Bearer {old}"}
    for running in (one, other):
        assert httpx.get(f"{running.base}{API}/users/me", headers=bearer).status_code == 200
    revoked = run(folder, values, "keys", "rotate", "--signing", "--revoke-old")
    assert revoked.returncode == 0
    begun = time.monotonic()
    for running in (one, other):
        wait_until(lambda base=running.base: _me(base, bearer) == 401)  # type: ignore[misc]
    print(f"refused everywhere {time.monotonic() - begun:.1f} s after it was revoked")
    login = {"email": "c0@bank.test", "password": PASSWORD}
    made = httpx.post(f"{one.base}{API}/sessions", json=login, timeout=LONG)
    assert made.status_code == 201
    fresh = {"Authorization": f"Bearer {made.json()['access_token']}"}
    assert _me(other.base, fresh) == _me(one.base, fresh) == 200
    for running in (one, other):
        assert running.stop() == 0
        text = running.log.read_text()
        assert [key for key in secrets_in(folder) if key in text] == []


def _me(base: str, headers: dict[str, str]) -> int:
    return httpx.get(f"{base}{API}/users/me", headers=headers, timeout=LONG).status_code


def test_a_key_that_another_process_signs_with_is_known_at_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Even one that nobody had time to see: its first token makes the others look."""
    values = environment(sqlite_url, tmp_path, RATE_LIMITS="off")
    with serving(tmp_path, values) as running:
        body = {"email": "ada@bank.test", "password": PASSWORD}
        assert httpx.post(f"{running.base}{API}/users", json=body).status_code == 201
        pair = httpx.post(f"{running.base}{API}/sessions", json=body).json()
        store, secret = FolderSecrets(tmp_path / "data" / "keys", SystemClock()), new_secret()
        said = jwt.decode(pair["access_token"], options={"verify_signature": False})
        now = FixedClock(SystemClock().now_us())
        hurried = AccessTokens(secret, now).issue(said["sub"], said["sid"], said["ver"])
        headers = {"Authorization": f"Bearer {hurried}"}
        assert _me(running.base, headers) == 401
        store.add("secret_key", secret)
        assert _me(running.base, headers) == 200


@pytest.mark.usefixtures("elsewhere")
def test_nothing_is_rotated_when_one_of_the_keys_is_kept_elsewhere(tmp_path: Path) -> None:
    said = guilder("keys", "rotate", status=1, ENCRYPTION_KEY="e" * 32)
    assert "GUILDER_ENCRYPTION_KEY is kept outside" in said.stderr
    assert len(secrets_in(tmp_path)) == 1


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("use", ["signing", "encryption"])
def test_a_disk_that_is_full_is_told_by_the_folder_of_the_keys(tmp_path: Path, use: str) -> None:
    guilder("keys", "list")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        done = CliRunner().invoke(app, ["keys", "rotate", f"--{use}"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.exit_code == 3
    assert done.stderr == "guilder: data/keys: File too large\n"
    assert len(secrets_in(tmp_path)) == 2
