"""The settings: names that begin with ``GUILDER_``, from the environment and from ``.env``."""

import re
import sys
from collections.abc import Mapping
from email.headerregistry import Address
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AnyHttpUrl,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from guilder.core.rates import RATES, Rate
from guilder.db.postgres import postgres_address
from guilder.infra.mail.addresses import (
    ConsoleRoute,
    MailRoute,
    SmtpRoute,
    mail_route,
    sender_address,
)
from guilder.infra.process import origins, production
from guilder.infra.process.connections import MOST_OF_ONE
from guilder.infra.process.given import (
    ENCODING,
    ENV_FILE,
    PREFIX,
    env_file_problems,
    given_names,
    unknown_names,
)
from guilder.infra.process.listening import endpoint_of
from guilder.infra.process.origins import Network, networks_of, origins_of
from guilder.infra.process.policy_rates import PolicyRate, rate_field
from guilder.infra.process.retention import kept_field
from guilder.infra.security.geoip import GeoIpDatabase
from guilder.infra.security.keys import ENCRYPTION_KEY, SECRET_KEY, check_key_file, checked_keys

_DATABASE: Final = re.compile(r"$|sqlite:///[^?:]|postgres(ql)?(\+asyncpg)?://")
_AWS: Final = re.compile(
    r"$|aws-secrets-manager:(?P<prefix>[A-Za-z0-9/_+=.@-]{1,400}?)/?(\?region=(?P<region>[a-z0-9-]+))?"
)
_KEY_NAME: Final = re.compile("[0-9a-f]{16}")
_REDIS: Final = re.compile(r"$|rediss?://|unix://")


class InvalidSettings(Exception):
    """The settings cannot be used; the text says which and what to set, never a value."""


class Settings(BaseSettings):
    """How this bank runs.

    Made by ``load_settings``, which raises ``InvalidSettings`` for unknown names.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    env: Literal["sandbox", "production", "test"] = Field(
        "sandbox",
        description="`sandbox` has simulators, the test clock and generated keys; `production` "
        "refuses what is unsafe; `test` is for the test suite.",
    )
    data_dir: Path = Field(
        Path("data"),
        description="Folder of the SQLite database, of generated keys and, while several workers "
        "run, of their metrics.",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="`sqlite:///file` or `postgresql://user:password@host/name`, with the "
        "parameters of libpq, such as `?sslmode=verify-full`. "
        "Default: `guilder.db` in the data folder.",
    )
    database_wait_seconds: int = Field(
        30,
        ge=0,
        le=3600,
        description="How long a start waits for a database that is away or being made; it is told "
        "every 5 s.",
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
        description="At least 32 bytes; tokens are signed with a key made from it. Several, "
        "separated by commas, are all good and the first is used. Generated into the data folder, "
        "except in production.",
    )
    secret_key_file: Path | None = Field(
        None, description="A file that holds it instead; a change is noticed while we run."
    )
    encryption_key: SecretStr | None = Field(
        None,
        description="At least 32 bytes, not those of the secret key: protects passwords and what "
        "is stored encrypted. Several, and generated, as the secret key. Keep a copy: without it "
        "nobody can log in.",
    )
    encryption_key_file: Path | None = Field(
        None, description="A file that holds it instead; a change is noticed while we run."
    )
    lost_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names of encryption keys that are lost for good, separated by commas, as a "
        "start without them tells: who had a password under one sets a new one.",
    )
    secrets_url: str = Field(
        "",
        description="`aws-secrets-manager:prefix?region=eu-central-1`: both keys are there, as "
        "`prefix/secret_key` and `prefix/encryption_key`. Needs the extra `guilder[aws]`.",
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
    require_admin_factors: bool = Field(
        False,
        description="Whether administrators act as ordinary users until they have proved a second "
        "factor or a passkey in their session.",
    )
    session_idle_days: int = Field(
        14, ge=1, le=365, description="Days after which a session that nobody uses ends."
    )
    session_absolute_days: int = Field(
        90, ge=1, le=3650, description="Days after which a session ends, however much it is used."
    )
    events_kept_days: int = kept_field(90, "Days after which events are deleted.")
    keys_kept_days: int = kept_field(30, "Days after which an idempotency key is new again.")
    audit_years: int = kept_field(7, "Years before `guilder audit archive` may move the trail.")
    rate_limits: bool = Field(True, description="`off` is refused in production.")
    rate_read: PolicyRate = rate_field("read")
    rate_write: PolicyRate = rate_field("write")
    rate_bulk: PolicyRate = rate_field("bulk")
    rate_login: PolicyRate = rate_field("login")
    rate_wrong_guesses: PolicyRate = rate_field("wrong_guesses")
    rate_wrong_guesses_a_day: PolicyRate = rate_field("wrong_guesses_a_day")
    rate_sign_up: PolicyRate = rate_field("sign_up")
    rate_refresh: PolicyRate = rate_field("refresh")
    rate_recovery: PolicyRate = rate_field("recovery")
    rate_reveal: PolicyRate = rate_field("reveal")
    rate_failed_tokens: PolicyRate = rate_field("failed_tokens")
    rate_health: PolicyRate = rate_field("health")
    rate_assets: PolicyRate = rate_field("assets")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        description="Addresses and networks of proxies in front, separated by commas: only they "
        "are believed when they say in `X-Forwarded-For` for whom they ask.",
    )
    connections_per_address: int = Field(
        MOST_OF_ONE,
        ge=1,
        description="Connections that one address may have with each worker, at most half of "
        "those that the descriptors leave room for. Not for `GUILDER_TRUSTED_PROXIES`.",
    )
    geoip_database: Path | None = Field(
        None,
        description="A local file in MaxMind's format (GeoLite2-City.mmdb, say), by which sessions "
        "show where they were opened. Default: they do not.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins of web pages elsewhere that may call the API, such as "
        "`https://app.example.com`, separated by commas. `*` is refused in production.",
    )
    passkey_host: str = Field(
        "",
        description="Host that passkeys belong to, such as `example.com`. Those of another are "
        "lost when it changes. Default: that of the base URL.",
    )
    passkey_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may use passkeys. Default: that of the base URL."
    )
    metrics_public: bool | None = Field(
        None,
        description="Whether `GET /metrics` answers. Default: on; off in production and with "
        "`GUILDER_METRICS_ADDRESS`.",
    )
    metrics_address: str = Field(
        "",
        description="Where `GET /metrics` is answered instead: host and port, such as "
        "`127.0.0.1:9100`, that only those can reach who may read them.",
    )

    @field_validator("secret_key", "encryption_key")
    @classmethod
    def _long_enough(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            checked_keys(keys.get_secret_value())
        return keys

    @field_validator("secret_key_file", "encryption_key_file")
    @classmethod
    def _readable_keys(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        there_too = info.data.get(str(info.field_name).removesuffix("_file"))
        if path is not None and there_too is None:  # else that is what is wrong
            check_key_file(path)
        return path

    @field_validator("secrets_url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if not _AWS.fullmatch(url):
            raise ValueError("must be aws-secrets-manager:prefix, with ?region=name if need be")
        return url

    @field_validator("base_url")
    @classmethod
    def _base_without_path(cls, url: AnyHttpUrl | None) -> AnyHttpUrl | None:
        return origins.without_path(url)

    @field_validator("passkey_host")
    @classmethod
    def _named_host(cls, host: str) -> str:
        return origins.passkey_host_of(host)

    @field_validator("cors_origins", "passkey_origins", mode="before")
    @classmethod
    def _read_origins(cls, given: object) -> object:
        return origins_of(given) if isinstance(given, str) else given

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        if not _DATABASE.match(url.get_secret_value()):
            raise ValueError("must begin with sqlite:/// and a file, or with postgresql://")
        if url.get_secret_value().startswith("postgres"):
            postgres_address(url.get_secret_value())
        return url

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, url: SecretStr) -> SecretStr:
        if not _REDIS.match(url.get_secret_value()):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        try:
            _ = urlsplit(url.get_secret_value()).port
        except ValueError:
            raise ValueError("has an invalid port") from None
        return url

    @field_validator("lost_keys", mode="before")
    @classmethod
    def _read_names(cls, given: object) -> object:
        if isinstance(given, str):
            given = tuple(name.strip() for name in given.split(","))
            if not all(map(_KEY_NAME.fullmatch, given)):
                raise ValueError("must be names of 16 digits each, separated by commas")
        return given

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _read_networks(cls, given: object) -> object:
        return networks_of(given) if isinstance(given, str) else given

    @field_validator("metrics_address")
    @classmethod
    def _known_endpoint(cls, address: str) -> str:
        if address:
            endpoint_of(address)
        return address

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
            GeoIpDatabase(path).close()
        return path

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        problems = []
        if isinstance(self.mail_route, SmtpRoute) and not self.mail_from:
            problems.append(f"{PREFIX}MAIL_FROM must be set to send mail over SMTP")
        if self.metrics_public and self.metrics_address:
            problems.append(f"{PREFIX}METRICS_PUBLIC and {PREFIX}METRICS_ADDRESS: set one of them")
        for name in (SECRET_KEY, ENCRYPTION_KEY):
            given = getattr(self, name), getattr(self, f"{name}_file"), self.secrets_url
            if sum(map(bool, given)) > 1:
                places = f"{PREFIX}{name.upper()}, {PREFIX}{name.upper()}_FILE"
                problems.append(f"{places} and {PREFIX}SECRETS_URL: set one of them, not several")
        if self.env == "production":
            problems += production.production_problems(self)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def sandbox(self) -> bool:
        """Whether simulators and the test clock exist."""
        return self.env != "production"

    @property
    def keeps_keys_elsewhere(self) -> bool:
        """Whether the keys are in a store that is asked for them when the bank is opened."""
        return bool(self.secrets_url)

    @property
    def makes_keys(self) -> bool:
        """Whether a key is made in the data folder where there is none."""
        return not self.keeps_keys_elsewhere and len(self.keys_given()) < 2

    @property
    def aws_place(self) -> tuple[str, str | None]:
        """Where in AWS Secrets Manager: the prefix of names, and the region if it is given."""
        found = _AWS.fullmatch(self.secrets_url)
        assert found is not None
        return found["prefix"], found["region"]

    @property
    def key_files(self) -> tuple[Path, ...]:
        """The files that hold keys because a setting says so."""
        return tuple(path for path in (self.secret_key_file, self.encryption_key_file) if path)

    @property
    def redis(self) -> str:
        """The address of Redis, empty without one."""
        return self.redis_url.get_secret_value()

    def policy_rates(self) -> dict[str, Rate]:
        """How often each policy lets somebody ask, by its name."""
        return {policy: getattr(self, f"rate_{policy}") for policy in RATES}

    def keys_given(self) -> dict[str, tuple[bytes, ...]]:
        """The keys of settings and of files by the names of their settings, the newest first."""
        found = {}
        for name in (SECRET_KEY, ENCRYPTION_KEY):
            given, path = getattr(self, name), getattr(self, f"{name}_file")
            if given is not None:
                found[PREFIX + name.upper()] = checked_keys(given.get_secret_value())
            elif path is not None:
                found[PREFIX + name.upper()] = checked_keys(path.read_text("utf-8"))
        return found

    @property
    def shows_mail(self) -> bool:
        """Whether mail goes nowhere but onto the console."""
        return isinstance(self.mail_route, ConsoleRoute)

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
        host = origins.shown_host(self.host)
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
        """Whether an address must be verified before its user may sign in."""
        if self.require_email_verification is None:
            return not isinstance(self.mail_route, ConsoleRoute)
        return self.require_email_verification

    @property
    def shows_metrics(self) -> bool:
        """Whether ``GET /metrics`` answers where everything does."""
        if self.metrics_public is None:
            return self.env != "production" and not self.metrics_address
        return self.metrics_public

    @property
    def logs_json(self) -> bool:
        """Whether a log line is JSON rather than text for eyes."""
        if self.log_format == "auto":
            return not sys.stderr.isatty()
        return self.log_format == "json"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` (from the command line) win, None among them is no value.

    Raises ``InvalidSettings`` for unknown names that begin with ``GUILDER_``, for values that do
    not fit and for what of ``.env`` cannot be read.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if problems := env_file_problems(Path(ENV_FILE)):
        raise InvalidSettings("\n".join(problems))
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    problems = unknown_names(given_names(Settings), known)
    settings = None
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += _problems(error, given)
    if settings is None or problems:
        raise InvalidSettings("\n".join(problems))
    return settings


def _problems(error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """Every problem, a line each: those of single values, then those of all of them together.

    The latter come to light only with defaults for the broken ones, which they must not be about.
    """
    told = _told(error)
    broken = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
    if broken:
        fields = Settings.model_fields
        sound = {name: fields[name].get_default(call_default_factory=True) for name in broken}
        try:
            Settings(**(dict(given) | sound))
        except ValidationError as more:
            names = tuple(PREFIX + name.removesuffix("_file").upper() for name in broken)
            told += [line for line in _told(more) if not line.startswith(names)]
    return told


def _told(error: ValidationError) -> list[str]:
    """One line a problem, naming the setting and never the value."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        message = problem["msg"].removeprefix("Value error, ")
        where = "".join(f"{PREFIX}{str(part).upper()}: " for part in problem["loc"][:1])
        lines += [where + line for line in message.splitlines()]
    return lines
