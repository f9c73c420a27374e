"""Settings: what is read from where, and what is refused without showing a value."""

from pathlib import Path

import pytest

from guilder.infra.mail.addresses import ConsoleRoute, SmtpRoute
from guilder.infra.process.described import describe_settings, masked_url
from guilder.infra.process.settings import (
    InvalidSettings,
    Settings,
    load_settings,
)
from tests.support.app import PRODUCTION

KEY = "k" * 32


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    monkeypatch.chdir(tmp_path)


def rows(settings: Settings) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in describe_settings(settings)}


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.env == "sandbox"
    assert settings.sandbox
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.database == f"sqlite:///{tmp_path / 'data' / 'guilder.db'}"
    assert settings.address == "http://localhost:8000"
    assert settings.shows_metrics


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("GUILDER_PORT=1\nGUILDER_HOST=file\nGUILDER_WORKERS=2\nOTHER=x\n")
    monkeypatch.setenv("GUILDER_PORT", "2")
    monkeypatch.setenv("GUILDER_WORKERS", "3")
    settings = load_settings(workers=4, log_level=None)
    assert (settings.host, settings.port, settings.workers) == ("file", 2, 4)
    shown = rows(settings)
    assert shown["GUILDER_HOST"]["source"] == ".env"
    assert shown["GUILDER_PORT"]["source"] == "environment"
    assert shown["GUILDER_WORKERS"]["source"] == "environment"
    assert shown["GUILDER_LOG_LEVEL"]["source"] == "default"
    assert shown["GUILDER_SECRET_KEY"]["source"] == "generated"


def test_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUILDER_SECRET_KEY", "")
    monkeypatch.setenv("GUILDER_PORT", "")
    assert load_settings().secret_key is None


def test_an_unknown_name_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("GUILDER_LOGLEVEL=info\n")
    monkeypatch.setenv("GUILDER_DATABSE_URL", "postgresql://u:canary@h/d")
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    said = str(refused.value)
    assert "GUILDER_LOGLEVEL (.env) is not a setting; did you mean GUILDER_LOG_LEVEL?" in said
    assert "did you mean GUILDER_DATABASE_URL?" in said
    assert "canary" not in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"port": "canary"}, "GUILDER_PORT: "),
        ({"port": 65536}, "GUILDER_PORT: "),
        ({"workers": 0}, "GUILDER_WORKERS: "),
        ({"env": "canary"}, "GUILDER_ENV: "),
        ({"secret_key": "canary"}, "GUILDER_SECRET_KEY: needs at least 32 bytes"),
        ({"database_url": "mysql://u:canary@h/d"}, "GUILDER_DATABASE_URL: must begin with"),
        ({"database_url": "sqlite:///:memory:"}, "GUILDER_DATABASE_URL: must begin with"),
        ({"database_url": "sqlite:///"}, "GUILDER_DATABASE_URL: must begin with"),
        ({"base_url": "canary"}, "GUILDER_BASE_URL: "),
        ({"base_url": "https://bank.example/canary"}, "GUILDER_BASE_URL: must be an address with"),
        ({"base_url": "https://bank.example/?canary"}, "GUILDER_BASE_URL: must be an address with"),
        ({"passkey_host": "https://canary"}, "GUILDER_PASSKEY_HOST: must be a host name"),
        ({"passkey_host": "192.0.2.1"}, "GUILDER_PASSKEY_HOST: must be a host name"),
        ({"passkey_origins": "canary"}, "GUILDER_PASSKEY_ORIGINS: must be origins"),
        ({"redis_url": "http://u:canary@h"}, "GUILDER_REDIS_URL: must begin with redis://"),
        ({"redis_url": "redis://u:x@h:canary/0"}, "GUILDER_REDIS_URL: has an invalid port"),
        ({"trusted_proxies": "10.0.0.0/8,canary"}, "GUILDER_TRUSTED_PROXIES: must be addresses"),
        ({"trusted_proxies": "10.0.0.1/8"}, "GUILDER_TRUSTED_PROXIES: must be addresses"),
        ({"trusted_proxies": "10.0.0.0/8,"}, "GUILDER_TRUSTED_PROXIES: must be addresses"),
        ({"trusted_proxies": "::/0"}, "GUILDER_TRUSTED_PROXIES: must not be everybody"),
        ({"trusted_proxies": "0.0.0.0/0"}, "GUILDER_TRUSTED_PROXIES: must not be everybody"),
        ({"metrics_address": "9100"}, "GUILDER_METRICS_ADDRESS: must be host and port, such as"),
        ({"metrics_address": "canary"}, "GUILDER_METRICS_ADDRESS: must be host and port"),
        ({"metrics_address": "::1:9100"}, "GUILDER_METRICS_ADDRESS: must be host and port"),
        ({"metrics_address": "[::1]:65536"}, "GUILDER_METRICS_ADDRESS: must be host and port"),
        (
            {"metrics_address": "[::1]:9100", "metrics_public": True},
            "GUILDER_METRICS_PUBLIC and GUILDER_METRICS_ADDRESS: set one of them",
        ),
        ({"database_wait_seconds": -1}, "GUILDER_DATABASE_WAIT_SECONDS: "),
        ({"mail_url": "smtp://u:canary@"}, "GUILDER_MAIL_URL: must be console:, file:/folder"),
        ({"mail_from": "canary"}, "GUILDER_MAIL_FROM: must be Name <user@host>"),
        ({"mail_from": "a@b\r\nBcc: canary@d"}, "GUILDER_MAIL_FROM: must be Name <user@host>"),
        ({"mail_url": "smtp://u:canary@h"}, "GUILDER_MAIL_FROM must be set"),
    ],
)
def test_a_bad_value_is_refused_without_being_shown(values: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(**values)
    assert said in str(refused.value)
    assert "canary" not in str(refused.value)


def test_production_hides_metrics_and_simulators_unless_told() -> None:
    settings = load_settings(**PRODUCTION)
    assert not settings.sandbox
    assert not settings.shows_metrics
    assert load_settings(**PRODUCTION, metrics_public=True).shows_metrics
    assert not load_settings(metrics_address="127.0.0.1:9100").shows_metrics


def test_secrets_are_masked_when_shown() -> None:
    url = "postgresql://u:canary@h:5/d?sslmode=require"
    settings = load_settings(secret_key=KEY, database_url=url)
    shown = rows(settings)
    assert shown["GUILDER_SECRET_KEY"]["value"] == "********"
    assert shown["GUILDER_DATABASE_URL"]["value"] == url.replace("canary", "********")
    assert KEY not in repr(settings)
    assert "canary" not in repr(settings)


def test_proxies_are_read_from_a_list_of_addresses_and_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().trusted_proxies == ()
    monkeypatch.setenv("GUILDER_TRUSTED_PROXIES", "10.0.0.0/8, ::1,192.0.2.7")
    settings = load_settings()
    assert [str(one) for one in settings.trusted_proxies] == [
        "10.0.0.0/8", "::1/128", "192.0.2.7/32",
    ]  # fmt: skip
    shown = rows(settings)["GUILDER_TRUSTED_PROXIES"]
    assert (shown["value"], shown["source"]) == ("10.0.0.0/8,::1/128,192.0.2.7/32", "environment")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:canary@h:1/0", "redis://:********@h:1/0"),
        ("rediss://u:canary@h", "rediss://u:********@h"),
        ("redis://h?db=1&password=canary", "redis://h?db=1&password=********"),
        ("redis://h?Password=canary&db=1", "redis://h?Password=********&db=1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("", ""),
    ],
)
def test_the_address_of_redis_is_shown_without_its_password(url: str, shown: str) -> None:
    settings = load_settings(redis_url=url)
    assert settings.redis_url.get_secret_value() == url
    assert rows(settings)["GUILDER_REDIS_URL"]["value"] == shown
    assert "canary" not in repr(settings)


def test_mail_goes_to_the_console_unless_told() -> None:
    settings = load_settings()
    assert settings.mail_route == ConsoleRoute()
    assert (settings.sender.display_name, settings.sender.addr_spec) == (
        "Guilder", "no-reply@localhost",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"mail_url": "file:/var/mail"}, True),
        ({"mail_url": "smtp://relay", "mail_from": "a@b.example"}, True),
        ({"mail_url": "file:/var/mail", "require_email_verification": "off"}, False),
        ({"require_email_verification": "on"}, True),
    ],
)
def test_addresses_are_proved_where_mail_goes_somewhere(
    given: dict[str, str], wanted: bool
) -> None:
    settings = load_settings(**given)
    assert settings.requires_verification is wanted
    shown = rows(settings)["GUILDER_REQUIRE_EMAIL_VERIFICATION"]["value"]
    assert shown == ("on" if wanted else "off")


def test_mail_has_a_sender_and_a_masked_password() -> None:
    url, sender = "smtp://bank:can%2Fary@relay:2525", "Bank Ltd <no-reply@bank.example>"
    settings = load_settings(mail_url=url, mail_from=sender)
    assert settings.mail_route == SmtpRoute("relay", 2525, "bank", "can/ary")
    assert settings.sender.display_name == "Bank Ltd"
    assert settings.sender.addr_spec == "no-reply@bank.example"
    shown = rows(settings)
    assert shown["GUILDER_MAIL_URL"]["value"] == "smtp://bank:********@relay:2525"
    assert shown["GUILDER_MAIL_FROM"]["value"] == sender
    assert "can/ary" not in repr(settings) + str(shown)
    assert "can%2Fary" not in repr(settings) + str(shown)
    assert rows(load_settings())["GUILDER_MAIL_URL"]["value"] == "console:"


def test_every_setting_says_what_it_is_for() -> None:
    described = describe_settings(load_settings(metrics_public=False, rate_limits=True))
    assert all(row["description"] for row in described)
    assert {row["value"] for row in described if row["name"].endswith("METRICS_PUBLIC")} == {"off"}


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({"host": "0.0.0.0", "port": 1}, "http://localhost:1"),
        ({"host": "::1", "port": 1}, "http://localhost:1"),
        ({"host": "2001:db8::1", "port": 1}, "http://[2001:db8::1]:1"),
        ({"base_url": "https://bank.example/"}, "https://bank.example"),
    ],
)
def test_address(values: dict[str, object], address: str) -> None:
    assert load_settings(**values).address == address


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_database(given: str, used: str) -> None:
    assert load_settings(database_url=given).database == used


def test_the_log_format_follows_the_terminal() -> None:
    assert load_settings(log_format="json").logs_json
    assert not load_settings(log_format="console").logs_json
    assert load_settings().logs_json  # standard error is no terminal under test


def test_an_address_without_a_password_stays_as_it_is() -> None:
    assert masked_url("sqlite:////a/b.db") == "sqlite:////a/b.db"
    url = "postgresql://u:can%40ary@h/d?password=canary&sslmode=require&sslpassword=canary"
    assert masked_url(url) == (
        "postgresql://u:********@h/d?password=********&sslmode=require&sslpassword=********"
    )


def test_a_file_of_keys_that_cannot_be_read_is_told_by_path_and_cause(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InvalidSettings) as refused:
        load_settings(secret_key_file=str(missing))
    said = f"GUILDER_SECRET_KEY_FILE: {missing} cannot be read: No such file or directory"
    assert said in str(refused.value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings(secret_key_file="canary", encryption_key_file=str(tmp_path))
    assert "canary" not in str(refused.value)  # it might be the key itself
    assert f"{tmp_path} cannot be read: Is a directory" in str(refused.value)


def test_a_key_that_is_given_twice_is_told_before_what_is_wrong_with_its_file(
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(secret_key="s" * 32, secret_key_file=str(tmp_path / "missing"))
    assert "set one of them, not several" in str(refused.value)
    assert "cannot be read" not in str(refused.value)
