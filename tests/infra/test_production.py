"""What production refuses, each with what to set and without showing a value; all at once."""

import secrets
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.db.engine import check_sqlite_library
from guilder.db.files import make_private_file, make_private_folder
from guilder.infra.process import production
from guilder.infra.process.origins import is_safe, origin_of
from guilder.infra.process.production import is_weak, production_warnings
from guilder.infra.process.settings import InvalidSettings, load_settings
from tests.support.app import PRODUCTION

SECRET, ENCRYPTION = str(PRODUCTION["secret_key"]), str(PRODUCTION["encryption_key"])
POSTGRES = "postgresql://bank:{}@db.internal/bank"
NO_USER = "postgresql://db.internal/bank"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    monkeypatch.chdir(tmp_path)


def said(**changes: Any) -> list[str]:
    """What is refused, a line each; a change to ``...`` takes the setting away."""
    values = {name: value for name, value in (PRODUCTION | changes).items() if value is not ...}
    try:
        load_settings(**values)
    except InvalidSettings as refused:
        return str(refused).splitlines()
    return []


def private(path: Path, text: str = "") -> Path:
    """A file as Guilder makes one."""
    make_private_folder(path.parent)
    make_private_file(path)
    path.write_text(text)
    return path


def test_what_is_safe_starts() -> None:
    assert said() == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"secret_key": ...}, "GUILDER_SECRET_KEY must be set in production, or"),
        ({"encryption_key": ...}, "GUILDER_ENCRYPTION_KEY must be set in production, or"),
        ({"secret_key": "canary" + "1aZ" * 8}, "GUILDER_SECRET_KEY: needs at least 32 bytes"),
        ({"encryption_key": "canary"}, "GUILDER_ENCRYPTION_KEY: needs at least 32 bytes"),
        ({"secret_key": f"{SECRET},canary"}, "GUILDER_SECRET_KEY: needs at least 32 bytes"),
        ({"secret_key": "a" * 32}, "GUILDER_SECRET_KEY can be guessed: use random bytes"),
        ({"encryption_key": "canary" * 6}, "GUILDER_ENCRYPTION_KEY can be guessed"),
        ({"encryption_key": f"{ENCRYPTION},{'b' * 40}"}, "GUILDER_ENCRYPTION_KEY can be guessed"),
        ({"encryption_key": SECRET}, "GUILDER_ENCRYPTION_KEY must be another key than"),
        ({"encryption_key": f"{ENCRYPTION},{SECRET}"}, "GUILDER_ENCRYPTION_KEY must be another"),
        ({"base_url": ...}, "GUILDER_BASE_URL must be set in production: the https address"),
        ({"base_url": "http://canary.example"}, "GUILDER_BASE_URL must begin with https://"),
        ({"base_url": "http://localhost.canary.example"}, "GUILDER_BASE_URL must begin with"),
        ({"cors_origins": "*"}, "GUILDER_CORS_ORIGINS=* is refused in production: list"),
        ({"cors_origins": "https://a.example,*"}, "GUILDER_CORS_ORIGINS=* is refused"),
        ({"cors_origins": "http://canary.example"}, "GUILDER_CORS_ORIGINS must be https://"),
        ({"rate_limits": "off"}, "GUILDER_RATE_LIMITS=off is refused in production"),
        ({"database_url": POSTGRES.format("bank")}, "GUILDER_DATABASE_URL has a password that"),
        ({"database_url": POSTGRES.format("p%61ssword")}, "GUILDER_DATABASE_URL has a password"),
        ({"database_url": POSTGRES.format("Bank")}, "GUILDER_DATABASE_URL has a password that"),
        ({"database_url": NO_USER + "?password=postgres"}, "GUILDER_DATABASE_URL has a password"),
        ({"database_url": NO_USER + "?user=x1&password=X1"}, "GUILDER_DATABASE_URL has a password"),
        (
            {"database_url": POSTGRES.format("Zk3vQ9sLw0aTn7yRb5xHd1cG") + "?password=p%61ssword"},
            "GUILDER_DATABASE_URL has a password",
        ),
        (
            {"secrets_url": "aws-secrets-manager:bank"},
            "GUILDER_SECRET_KEY, GUILDER_SECRET_KEY_FILE and GUILDER_SECRETS_URL: set one",
        ),
    ],
)
def test_what_is_unsafe_is_refused_and_only_that(changes: dict[str, Any], told: str) -> None:
    lines = said(**changes)
    assert [line for line in lines if line.startswith(told)], lines
    assert len(lines) == (2 if "secrets_url" in changes else 1)
    assert not [line for line in lines if "canary" in line or SECRET in line]


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "http://localhost:8000"},
        {"base_url": "http://127.0.0.1"},
        {"base_url": "http://[::1]:8000"},
        {"cors_origins": "https://app.example.com,http://localhost:5173"},
        {"secret_key": f"{SECRET},{secrets.token_hex(32)}\n{secrets.token_urlsafe(32)}"},
        {"database_url": "postgresql://bank@db.internal/bank"},
        {"database_url": POSTGRES.format(secrets.token_urlsafe())},
        {"secret_key": ..., "encryption_key": ..., "secrets_url": "aws-secrets-manager:bank"},
        {"metrics_public": True},
    ],
)
def test_what_is_not_unsafe_is_taken(changes: dict[str, Any]) -> None:
    assert said(**changes) == []


def test_everything_is_told_at_once() -> None:
    lines = said(
        port="canary", workers=0, secret_key="a" * 32, encryption_key="canary", base_url=...,
        cors_origins="*", rate_limits=False, database_url=POSTGRES.format("postgres"),
        mail_url="smtp://relay",
    )  # fmt: skip
    names = {line.split(":")[0].split("=")[0].split()[0] for line in lines}
    assert names == {
        f"GUILDER_{name}"
        for name in ("PORT", "WORKERS", "SECRET_KEY", "ENCRYPTION_KEY", "BASE_URL", "CORS_ORIGINS",
                     "RATE_LIMITS", "DATABASE_URL", "MAIL_FROM")
    }  # fmt: skip
    assert len(lines) == len(names)
    assert "canary" not in "\n".join(lines)


def test_unknown_names_are_told_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUILDER_PROT", "1")
    lines = said(base_url=...)
    assert [line.split()[0] for line in lines] == ["GUILDER_PROT", "GUILDER_BASE_URL"]


def test_keys_in_files_are_held_to_the_same(tmp_path: Path) -> None:
    path = tmp_path / "key"
    files = {"secret_key": ..., "secret_key_file": path}
    unread = f"GUILDER_SECRET_KEY_FILE: {path} cannot be read"
    assert said(**files) == [f"{unread}: No such file or directory"]
    private(path, "canary")
    assert said(**files) == ["GUILDER_SECRET_KEY_FILE: needs at least 32 bytes"]
    path.write_bytes(b"\xff" * 40)
    assert said(**files) == [f"{unread}: it is not UTF-8"]
    path.write_text("a" * 40)
    assert said(**files)[0].startswith("GUILDER_SECRET_KEY can be guessed")
    path.write_text(f"{ENCRYPTION}\n")
    assert said(**files)[0].startswith("GUILDER_ENCRYPTION_KEY must be another key")
    path.write_text(f"{SECRET}\n")
    assert said(**files) == []
    (told,) = said(secret_key_file=path)
    assert told.endswith("set one of them, not several")


def test_a_key_of_the_sandbox_is_refused(tmp_path: Path) -> None:
    made = secrets.token_urlsafe(48)
    private(tmp_path / "data" / "keys" / "secret_key", made)
    (told,) = said(secret_key=f"{SECRET},{made}")
    assert told.startswith("GUILDER_SECRET_KEY was generated for the sandbox")
    assert said() == []


@pytest.mark.parametrize(
    ("name", "loose", "mode"),
    [
        ("data", 0o750, 0o700),
        ("data", 0o701, 0o700),
        ("data/guilder.db", 0o644, 0o600),
        ("data/guilder.db-wal", 0o640, 0o600),
        ("data/guilder.db-shm", 0o602, 0o600),
        ("data/keys", 0o711, 0o700),
        ("data/keys/encryption_key", 0o604, 0o600),
        ("mounted", 0o640, 0o600),
    ],
)
def test_files_that_others_can_read_are_refused(
    tmp_path: Path, name: str, loose: int, mode: int
) -> None:
    mounted = private(tmp_path / "mounted", SECRET)
    for each in ("guilder.db", "guilder.db-wal", "guilder.db-shm", "keys/encryption_key"):
        private(tmp_path / "data" / each, secrets.token_urlsafe(48))
    files = {"data_dir": tmp_path / "data", "secret_key": ..., "secret_key_file": mounted}
    assert said(**files) == []
    path = tmp_path / name
    path.chmod(loose)
    told = f"{path} is open to others than its owner: chmod {mode:o} {path}"
    assert said(**files) == [told]
    path.chmod(mode)
    assert said(**files) == []


def test_an_affected_sqlite_is_refused_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite3.sqlite_version_info >= (3, 51, 3)
    affected = partial(check_sqlite_library, (3, 46, 1))
    monkeypatch.setattr(production, "check_sqlite_library", affected)
    lines = said(rate_limits=False)
    assert len(lines) == 2
    assert lines[1].startswith("GUILDER_DATABASE_URL: SQLite 3.46.1 can corrupt")
    assert said(database_url=POSTGRES.format(secrets.token_urlsafe())) == []


def test_the_sandbox_takes_all_of_it() -> None:
    lines = said(
        env="sandbox", secret_key="a" * 32, encryption_key="a" * 32, base_url=..., cors_origins="*",
        rate_limits=False, database_url=POSTGRES.format("postgres"),
    )  # fmt: skip
    assert lines == []


def test_what_is_doubtful_is_told_and_not_refused() -> None:
    told = production_warnings(load_settings(**PRODUCTION, metrics_public=True))
    assert [line.split()[0] for line in told] == [
        "GUILDER_MAIL_URL", "GUILDER_METRICS_PUBLIC", "GUILDER_TRUSTED_PROXIES",
    ]  # fmt: skip
    assert production_warnings(load_settings(**PRODUCTION, **SOUND)) == []


SOUND = {
    "mail_url": "smtps://relay", "mail_from": "bank@bank.example", "trusted_proxies": "10.0.0.1",
}  # fmt: skip
POSTGRES_SAFE = POSTGRES.format("Zk3vQ9sLw0aTn7yRb5xHd1cG")


@pytest.mark.parametrize(
    ("name", "value", "doubtful"),
    [
        ("metrics_address", "0.0.0.0:9100", True),
        ("metrics_address", "[::]:9100", True),
        ("metrics_address", "10.0.0.1:9100", False),
        ("redis_url", "redis://cache.internal:6379/0", True),
        ("redis_url", "redis://127.0.0.1:6379/0", False),
        ("redis_url", "rediss://cache.internal", False),
        ("redis_url", "unix:///run/redis.sock", False),
        ("database_url", POSTGRES_SAFE, True),
        ("database_url", POSTGRES_SAFE + "?sslmode=prefer", True),
        ("database_url", POSTGRES_SAFE + "?sslmode=verify-full", False),
        ("database_url", POSTGRES_SAFE + "?ssl=require", False),
        ("database_url", "postgresql://bank@localhost/bank", False),
        ("database_url", "postgresql://bank@/bank?host=/run/postgresql", False),
        ("database_url", "postgresql://bank@/bank?host=db.internal", True),
        ("mail_url", "smtp://relay", True),
        ("mail_url", "smtp://bank:pass@relay", False),
        ("mail_url", "smtp://localhost", False),
    ],
)
def test_what_others_can_reach_or_read_is_doubted_aloud(
    name: str, value: str, doubtful: bool
) -> None:
    told = production_warnings(load_settings(**PRODUCTION, **(SOUND | {name: value})))
    assert [line.split()[0] for line in told] == [f"GUILDER_{name.upper()}"] * doubtful


@pytest.mark.parametrize(
    "key",
    [
        "a" * 64,
        "ab" * 32,
        "0123456789abcdefghijklmnopqrstuvwxyz",
        "zyxwvutsrqponmlkjihgfedcba9876543210",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
        "correcthorsebatterystaple" * 2,
        "please-change-me-9f3kQ2mZx7Lw4Bt8Yh1",
        "your_secret_key_9f3kQ2mZx7Lw4Bt8Yh1Vc",
        "an-example-key-9f3kQ2mZx7Lw4Bt8Yh1VcR",
        "11111111112222222222333333333344444444445555555555",
        "akzzakkazkaazkzakkzzakazkkazaakzkazz",
    ],
)
def test_a_key_that_was_thought_up_is_weak(key: str) -> None:
    assert is_weak(key.encode())


@given(st.binary(min_size=32, max_size=32))
def test_any_key_gets_an_answer(key: bytes) -> None:
    assert is_weak(key) in (True, False)


def test_drawn_keys_are_not_weak() -> None:
    for _ in range(500):
        drawn = (secrets.token_hex(16), secrets.token_hex(32), secrets.token_urlsafe(24))
        assert [key for key in drawn if is_weak(key.encode())] == []


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443/", "https://app.example.com"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://faß.example", "https://xn--fa-hia.example"),
        ("https://BÜCHER.example:8443", "https://xn--bcher-kva.example:8443"),
        ("*", "*"),
    ],
)
def test_an_origin_is_read_as_browsers_send_it(text: str, origin: str) -> None:
    assert origin_of(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "app.example.com", "ftp://a.example", "https://", "https://*.example.com",
        "https://a.example/path", "https://a.example?x", "https://a.example#x", "https://u@a.example",
        "https://a.example:x", "https://a.example:99999", "https://" + "a" * 70 + ".example",
        "https://" + "ü" * 70 + ".example", "https://a\u2488.example",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="GUILDER_CORS_ORIGINS: must be origins such as"):
        load_settings(cors_origins=f"https://b.example,{text}")


def test_this_machine_is_safe_without_tls() -> None:
    safe = ["https://a.example", "http://localhost", "http://a.localhost:1", "http://127.9.9.9"]
    assert [one for one in safe if not is_safe(one)] == []
    assert not is_safe("http://10.0.0.1")
