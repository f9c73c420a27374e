"""Where secrets are kept: one contract for every store, and what is particular to each."""

import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from guilder.core.clock import FixedClock
from guilder.core.ports import (
    SecretsReadOnly,
    SecretStore,
    SecretsUnavailable,
)
from guilder.infra.security.aws_secrets import LABEL, AwsSecrets
from guilder.infra.security.secrets import (
    FolderSecrets,
    MountedSecrets,
    StaticSecrets,
    derived_key,
    new_secret,
    secret_values,
)
from tests.support.waiting import LONG

NAME, OTHER = "secret_key", "encryption_key"
REGION = "eu-central-1"
OLD, NEW = b"o" * 40, b"n" * 40
NOW = 1_800_000_000_000_000
RACER = """
import sys
from pathlib import Path
from guilder.core.clock import SystemClock
from guilder.infra.security.secrets import FolderSecrets
store = FolderSecrets(Path(sys.argv[1]), SystemClock())
sys.stdin.readline()
if sys.argv[2:]:
    store.add("secret_key", sys.argv[2].encode() * 40)
else:
    store.ensure("secret_key")
print(store.versions("secret_key")[0].value.decode())
"""


@dataclass
class Shelf:
    """A store with ``OLD`` in it, and how whoever owns it puts ``NEW`` in front."""

    store: SecretStore
    changes: bool
    """Whether we may change it."""
    put: Callable[[], object] | None
    """How another changes it while we run."""


def given_shelf(folder: Path) -> Shelf:
    return Shelf(StaticSecrets({NAME: (OLD,)}), changes=False, put=None)


def mounted_shelf(folder: Path) -> Shelf:
    path = folder / "mounted"
    path.write_bytes(OLD + b"\n")
    store = MountedSecrets({NAME: path})
    return Shelf(store, changes=False, put=lambda: path.write_bytes(NEW + b"\n" + OLD + b"\n"))


def folder_shelf(folder: Path) -> Shelf:
    store = FolderSecrets(folder / "keys", FixedClock(NOW))
    store.add(NAME, OLD)
    later = FixedClock(NOW + 1)
    return Shelf(
        store, changes=True, put=lambda: FolderSecrets(folder / "keys", later).add(NAME, NEW)
    )


def aws_client() -> Any:
    return boto3.client("secretsmanager", region_name=REGION)


def aws_shelf(folder: Path) -> Shelf:
    client = aws_client()
    client.create_secret(Name=f"bank/{NAME}", SecretString=OLD.decode() + "\n")

    def put() -> None:
        client.put_secret_value(SecretId=f"bank/{NAME}", SecretString=NEW.decode())

    return Shelf(AwsSecrets("bank", REGION), changes=True, put=put)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as moto plays it, inside this process and without a network."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield


@pytest.fixture(params=[given_shelf, mounted_shelf, folder_shelf, aws_shelf])
def shelf(request: pytest.FixtureRequest, tmp_path: Path, aws: None) -> Shelf:
    make: Callable[[Path], Shelf] = request.param
    return make(tmp_path)


def values(store: SecretStore, name: str = NAME) -> list[bytes]:
    return [version.value for version in store.versions(name)]


def test_a_secret_is_found_and_one_that_nobody_made_is_not(shelf: Shelf) -> None:
    assert values(shelf.store) == [OLD]
    assert values(shelf.store, OTHER) == []


def test_a_version_is_the_same_one_each_time_and_does_not_show_its_value(shelf: Shelf) -> None:
    (first,), (again,) = shelf.store.versions(NAME), shelf.store.versions(NAME)
    assert first == again
    assert OLD.decode() not in repr(first) + first.id


def test_a_version_that_somebody_else_adds_is_seen_in_front(shelf: Shelf) -> None:
    (before,) = shelf.store.versions(NAME)
    assert (shelf.put is None) == (shelf.store.poll_seconds is None)
    if shelf.put is None:
        return
    shelf.put()
    assert values(shelf.store) == [NEW, OLD]
    assert shelf.store.versions(NAME)[1].id == before.id


def test_versions_are_added_in_front_and_dropped_or_all_stays(shelf: Shelf) -> None:
    (old,) = shelf.store.versions(NAME)
    if not shelf.changes:
        with pytest.raises(SecretsReadOnly, match="GUILDER_SECRET_KEY is kept outside"):
            shelf.store.add(NAME, NEW)
        with pytest.raises(SecretsReadOnly, match="GUILDER_SECRET_KEY is kept outside"):
            shelf.store.drop(NAME, [old.id])
        assert values(shelf.store) == [OLD]
        return
    newer = [new_secret() for _ in range(4)]
    for value in newer:
        shelf.store.add(NAME, value)
    assert sorted(values(shelf.store)) == sorted([*newer, OLD])
    shelf.store.drop(NAME, [old.id, "another"])
    shelf.store.drop(NAME, [old.id])
    assert sorted(values(shelf.store)) == sorted(newer)
    assert values(shelf.store, OTHER) == []


def test_a_secret_can_be_added_where_there_is_none(shelf: Shelf) -> None:
    if shelf.changes:
        shelf.store.add(OTHER, NEW)
        assert values(shelf.store, OTHER) == [NEW]
        assert values(shelf.store) == [OLD]


def test_a_list_is_separated_by_commas_or_lines() -> None:
    assert secret_values("a, b\n\n c d\r\n,b") == (b"a", b"b", b"c d")
    assert secret_values(" \n") == ()


def test_keys_of_different_purposes_differ() -> None:
    assert len(derived_key(b"k" * 32, "one")) == 32
    assert derived_key(b"k" * 32, "one") == derived_key(b"k" * 32, "one")
    assert derived_key(b"k" * 32, "one") != derived_key(b"k" * 32, "two")
    assert derived_key(b"k" * 32, "one") != derived_key(b"j" * 32, "one")


def test_a_mounted_file_that_goes_or_is_no_text_is_told(tmp_path: Path) -> None:
    store = MountedSecrets({NAME: tmp_path / "mounted"})
    assert values(store) == []
    (tmp_path / "mounted").write_bytes(b"\xff" * 40)
    with pytest.raises(SecretsUnavailable, match="mounted cannot be read: UnicodeDecodeError"):
        store.versions(NAME)


def test_files_are_for_their_owner_only_and_no_draft_stays(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "keys"
    store = FolderSecrets(folder, FixedClock(NOW))
    assert values(store) == []
    assert not folder.exists()
    store.ensure(NAME)
    store.ensure(NAME)
    (first,) = store.versions(NAME)
    assert len(first.value) >= 32
    assert first.created_at is not None
    store.add(NAME, NEW)
    assert values(store) == [NEW, first.value]
    assert store.versions(NAME)[0].created_at == NOW
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name.split(".")[0] for path in folder.iterdir()) == [NAME, NAME]


def test_other_files_of_the_folder_are_no_versions(tmp_path: Path) -> None:
    store = FolderSecrets(tmp_path, FixedClock(NOW))
    for name in (f".{NAME}.0123", f"{NAME}.bak", f"{NAME}2", f"{NAME}.123.{'a' * 16}"):
        (tmp_path / name).write_bytes(NEW)
    assert values(store) == []


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(SecretsUnavailable, match="secret_key cannot be read: Is a directory"):
        FolderSecrets(tmp_path, FixedClock(NOW)).versions(NAME)


def race(folder: Path, *arguments: tuple[str, ...]) -> set[str]:
    """What so many processes print that are let go together."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(folder), *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for more in arguments
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return {racer.communicate(timeout=LONG)[0] for racer in racers}


def test_processes_that_make_the_first_key_together_agree(tmp_path: Path) -> None:
    keys = race(tmp_path / "keys", *([()] * 6))
    assert len(keys) == 1
    assert [one.name for one in (tmp_path / "keys").iterdir()] == [NAME]


def test_processes_that_add_a_key_together_lose_none(tmp_path: Path) -> None:
    race(tmp_path / "keys", *[(letter,) for letter in "abcdef"])
    found = values(FolderSecrets(tmp_path / "keys", FixedClock(NOW)))
    assert sorted(found) == [letter.encode() * 40 for letter in "abcdef"]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_crash_while_a_key_is_added_leaves_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What a power cut leaves: nothing but a draft that is no version."""
    store = FolderSecrets(tmp_path, FixedClock(NOW))
    store.add(NAME, OLD)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"guilder.infra.security.secrets.os.{step}", cut)
        patched.setattr(Path, "unlink", lambda _self: None)
        with pytest.raises(KeyboardInterrupt):
            store.add(NAME, NEW)
    assert len(list(tmp_path.iterdir())) == 2
    assert values(store) == [OLD]
    store.add(NAME, NEW)
    assert sorted(values(store)) == [NEW, OLD]


def test_versions_of_aws_outlive_its_own_labels(aws: None) -> None:
    shelf = aws_shelf(Path())
    added = [f"{number}".encode() * 40 for number in range(5)]
    for value in added:
        shelf.store.add(NAME, value)
    fresh = AwsSecrets("bank", REGION)
    assert fresh.versions(NAME)[0].value == added[-1]
    assert sorted(values(fresh)) == sorted([OLD, *added])
    assert all(version.created_at for version in fresh.versions(NAME))
    shelf.store.add(NAME, NEW)
    stages = aws_client().describe_secret(SecretId=f"bank/{NAME}")["VersionIdsToStages"]
    assert len(stages) == 7
    kept = [name for name, labels in stages.items() if LABEL + name in labels]
    assert len(kept) >= 6  # moto takes the labels of the one before the current away, AWS does not


def test_a_version_that_aws_is_still_making_is_none_of_ours(aws: None) -> None:
    shelf = aws_shelf(Path())
    aws_client().put_secret_value(
        SecretId=f"bank/{NAME}", SecretString=NEW.decode(), VersionStages=["AWSPENDING"]
    )
    assert values(shelf.store) == [OLD]


def test_the_current_version_of_aws_is_never_dropped(aws: None) -> None:
    shelf = aws_shelf(Path())
    (before,) = shelf.store.versions(NAME)
    shelf.store.drop(NAME, [before.id])
    stages = aws_client().describe_secret(SecretId=f"bank/{NAME}")["VersionIdsToStages"]
    assert stages == {before.id: ["AWSCURRENT"]}
    assert values(shelf.store) == [OLD]


def test_a_value_of_aws_is_asked_for_once(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    store = AwsSecrets("bank", REGION)
    aws_shelf(Path())
    asked: list[str] = []
    client = store._client
    real = client.get_secret_value

    def counted(**query: str) -> Any:
        asked.append(query["VersionId"])
        return real(**query)

    monkeypatch.setattr(client, "get_secret_value", counted)
    assert values(store) == values(store) == [OLD]
    assert len(asked) == 1


def test_a_secret_of_aws_that_is_no_text_is_told(aws: None) -> None:
    aws_client().create_secret(Name=f"bank/{NAME}", SecretBinary=OLD)
    with pytest.raises(SecretsUnavailable, match="bank/secret_key is not kept as text"):
        AwsSecrets("bank", REGION).versions(NAME)


def test_aws_without_a_region_is_told(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(SecretsUnavailable, match="region"):
        AwsSecrets("bank", None)


def test_aws_that_refuses_is_told(aws: None) -> None:
    shelf = aws_shelf(Path())
    aws_client().delete_secret(SecretId=f"bank/{NAME}", RecoveryWindowInDays=7)
    with pytest.raises(SecretsUnavailable, match=r"AWS Secrets Manager: .*InvalidRequest"):
        shelf.store.versions(NAME)
