"""The settings: names that begin with ``GUILDER_``, from the environment and from ``.env``."""

import difflib
import re
import sys
from collections.abc import Mapping
from email.headerregistry import Address
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from guilder.infra.geoip import Places
from guilder.infra.mail.addresses import MailRoute, ToConsole, ToServer, mail_route, sender_address

PREFIX: Final = "GUILDER_"
ENV_FILE: Final = ".env"
SHORTEST_KEY_BYTES: Final = 32
RESERVED: Final = frozenset(
    PREFIX + name
    for name in (
        "CORS_ORIGINS",
        "ENCRYPTION_KEY",
    )
)
"""Names of the operations contract that this version does not use: taken, and told as unused."""

_WORKED_OUT: Final = {
    "metrics_public": "shows_metrics",
    "require_email_verification": "requires_verification",
}
"""Switches whose default depends on other settings, and which property works it out."""

type Network = IPv4Network | IPv6Network

_DATABASE: Final = re.compile(r"$|sqlite:///[^?:]|postgres(ql)?(\+asyncpg)?://")
_REDIS: Final = re.compile(r"$|rediss?://|unix://")


class BadSettings(Exception):
    """The settings cannot be used; the text says which and what to set, never a value."""


class Source(StrEnum):
    """Where the value of a setting comes from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    ENV_FILE = ENV_FILE
    GENERATED = "generated"


class Settings(BaseSettings):
    """How this bank runs. Made by ``load_settings``, which refuses unknown names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True
    )

    env: Literal["sandbox", "production", "test"] = Field(
        "sandbox",
        description="`sandbox` has simulators, the test clock and generated keys; `production` "
        "refuses what is unsafe; `test` is for the test suite.",
    )
    data_dir: Path = Field(
        Path("data"), description="Folder of the SQLite database and of generated keys."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="`sqlite:///file` or `postgresql://user:password@host/name`. "
        "Default: `guilder.db` in the data folder.",
    )
    host: str = Field("127.0.0.1", description="Address that `guilder serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `guilder serve` listens on.")
    workers: int = Field(1, ge=1, le=64, description="Processes that `guilder serve` starts.")
    base_url: AnyHttpUrl | None = Field(
        None, description="Address under which people reach this bank. Default: host and port."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="At least 32 bytes; tokens are signed with a key made from it. "
        "Generated into the data folder, except in production.",
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="`redis://`, `rediss://` or `unix://`: rate limits are then shared by all "
        "processes. Without it by the workers of one server, through the database, where a "
        "password or a token can be guessed, and by nobody elsewhere.",
    )
    mail_url: SecretStr = Field(
        SecretStr("console:"),
        description="Where mail goes: `console:` (the default) shows it on standard error, and in "
        "production only that there was one; `file:/folder` writes one `.eml` a mail; "
        "`smtp://user:password@host:port` or `smtps://` sends it.",
    )
    mail_from: str = Field(
        "",
        description="Sender of mail and name of the bank in it: `Example Bank <bank@example.com>`. "
        "Required with SMTP.",
    )
    require_email_verification: bool | None = Field(
        None,
        description="Whether nobody may sign in before the link in a letter was opened. "
        "Default: on when mail goes to a server or into a folder.",
    )
    rate_limits: bool = Field(True, description="`off` is refused in production.")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        description="Addresses and networks of proxies in front, separated by commas: only they "
        "are believed when they say in `X-Forwarded-For` for whom they ask.",
    )
    geoip_database: Path | None = Field(
        None,
        description="A local file in MaxMind's format (GeoLite2-City.mmdb, say), by which sessions "
        "show where they were opened. Default: they do not.",
    )
    metrics_public: bool | None = Field(
        None,
        description="Whether `GET /metrics` answers. Default: on, and off in production.",
    )

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) < SHORTEST_KEY_BYTES:
            raise ValueError(f"needs at least {SHORTEST_KEY_BYTES} bytes")
        return key

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        if not _DATABASE.match(url.get_secret_value()):
            raise ValueError("must begin with sqlite:/// and a file, or with postgresql://")
        return url

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, url: SecretStr) -> SecretStr:
        if not _REDIS.match(url.get_secret_value()):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        try:
            _ = urlsplit(url.get_secret_value()).port
        except ValueError:
            raise ValueError("has a port that is none") from None
        return url

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _read_networks(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        try:
            networks = tuple(ip_network(part.strip()) for part in given.split(","))
        except ValueError:
            raise ValueError(
                "must be addresses or networks such as 10.0.0.0/8, separated by commas"
            ) from None
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("must not be everybody: then any client could give any address")
        return networks

    @field_validator("mail_url")
    @classmethod
    def _known_mail_route(cls, url: SecretStr) -> SecretStr:
        mail_route(url.get_secret_value())
        return url

    @field_validator("mail_from")
    @classmethod
    def _known_sender(cls, sender: str) -> str:
        if sender:
            sender_address(sender)
        return sender

    @field_validator("geoip_database")
    @classmethod
    def _readable_places(cls, path: Path | None) -> Path | None:
        if path is not None:
            Places(path).close()
        return path

    @model_validator(mode="after")
    def _with_a_sender(self) -> "Settings":
        if isinstance(self.mail_route, ToServer) and not self.mail_from:
            raise ValueError(f"{PREFIX}MAIL_FROM must be set to send mail over SMTP")
        return self

    @model_validator(mode="after")
    def _fit_for_production(self) -> "Settings":
        if self.env == "production":
            if self.secret_key is None:
                raise ValueError(f"{PREFIX}SECRET_KEY must be set in production")
            if not self.rate_limits:
                raise ValueError(f"{PREFIX}RATE_LIMITS=off is refused in production")
        return self

    @property
    def sandbox(self) -> bool:
        """Whether simulators and the test clock exist."""
        return self.env != "production"

    @property
    def database(self) -> str:
        """The address of the database, the default worked out."""
        url = self.database_url.get_secret_value()
        if not url:
            return f"sqlite:///{self.data_dir.absolute() / 'guilder.db'}"
        return url.replace("postgres://", "postgresql://", 1)

    @property
    def address(self) -> str:
        """Where people reach this bank, without a slash at the end."""
        if self.base_url is not None:
            return str(self.base_url).rstrip("/")
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def mail_route(self) -> MailRoute:
        """Where mail goes."""
        return mail_route(self.mail_url.get_secret_value())

    @property
    def sender(self) -> Address:
        """Who mail is from; its name is the bank's."""
        given = sender_address(self.mail_from or "no-reply@localhost")
        return Address(given.display_name or "Guilder", addr_spec=given.addr_spec)

    @property
    def requires_verification(self) -> bool:
        """Whether an address must be proved before its user may sign in."""
        if self.require_email_verification is None:
            return not isinstance(self.mail_route, ToConsole)
        return self.require_email_verification

    @property
    def shows_metrics(self) -> bool:
        """Whether ``GET /metrics`` answers."""
        return self.env != "production" if self.metrics_public is None else self.metrics_public

    @property
    def logs_json(self) -> bool:
        """Whether a log line is JSON rather than text for eyes."""
        if self.log_format == "auto":
            return not sys.stderr.isatty()
        return self.log_format == "json"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` (from the command line) win, None among them is no value.

    Refuses names that begin with ``GUILDER_`` and are none of ours, and values that do not fit.
    """
    refuse_unknown(_given())
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise BadSettings("\n".join(_told(error))) from None


def refuse_unknown(given: Mapping[str, Source]) -> None:
    """Refuse a name that is no setting, with the nearest that is."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | RESERVED
    problems = []
    for name, source in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems.append(f"{name} ({source}) is not a setting{hint}")
    if problems:
        raise BadSettings("\n".join(problems))


def unused_names() -> list[str]:
    """Names that are given and that this version does not use yet."""
    return sorted(RESERVED & _given().keys())


def describe_settings(settings: Settings) -> list[dict[str, str]]:
    """Each setting with value, source and description; what is secret is masked."""
    given = _given()
    rows = []
    for name, field in Settings.model_fields.items():
        variable = PREFIX + name.upper()
        source = given.get(variable, Source.DEFAULT)
        if name == "secret_key" and settings.secret_key is None:
            source = Source.GENERATED
        rows.append(
            {
                "name": variable,
                "value": _shown(settings, name),
                "source": source.value,
                "description": field.description or "",
            }
        )
    return rows


def _given() -> dict[str, Source]:
    """Every ``GUILDER_`` name that has a value, and where."""
    read = {
        Source.ENV_FILE: DotEnvSettingsSource(Settings).env_vars,
        Source.ENVIRONMENT: EnvSettingsSource(Settings).env_vars,
    }
    return {
        name.upper(): source
        for source, values in read.items()
        for name, value in values.items()
        if name.upper().startswith(PREFIX) and value
    }


def _shown(settings: Settings, name: str) -> str:
    match getattr(settings, name):
        case _ if name == "database_url":
            return masked_url(settings.database)
        case _ if name == "redis_url":
            return masked_url(settings.redis_url.get_secret_value())
        case _ if name == "trusted_proxies":
            return ",".join(map(str, settings.trusted_proxies))
        case SecretStr() as url if name == "mail_url":
            return masked_url(url.get_secret_value())
        case _ if name == "base_url":
            return settings.address
        case _ if name in _WORKED_OUT:
            return "on" if getattr(settings, _WORKED_OUT[name]) else "off"
        case None:
            return ""
        case bool(switch):
            return "on" if switch else "off"
        case SecretStr():
            return "********"
        case value:
            return str(value)


def masked_url(url: str) -> str:
    """An address without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    netloc = parts.netloc.replace(f":{parts.password}@", ":********@", 1)
    return urlunsplit(parts._replace(netloc=netloc))


def _told(error: ValidationError) -> list[str]:
    """One line a problem, naming the setting and never the value."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        message = problem["msg"].removeprefix("Value error, ")
        where = "".join(f"{PREFIX}{str(part).upper()}: " for part in problem["loc"][:1])
        lines.append(where + message)
    return lines
