"""How every connection to PostgreSQL is made: from an address as libpq takes it, for both drivers.

SQLAlchemy and the poster go through ``connect_postgres``, so that what the address says holds for
both. Parameters are libpq's; one that cannot be kept is refused rather than left out.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg

from guilder.db.application_role import SET_ROLE

CONNECT_TIMEOUT_SECONDS: Final = 2.0
COMMAND_SECONDS: Final = 10.0
"""How long one statement of a short transaction may take."""
DEAD_MS: Final = 10_000
"""After how long without an answer of the other machine a connection counts as lost, both ways."""

LOCK_SECONDS: Final = 4.0
"""How long a command waits for a lock before it is run again."""

LIMITS: Final = f"""
SELECT set_config(name, value, true) FROM (VALUES
  ('idle_in_transaction_session_timeout', '10000', 0),
  ('lock_timeout', '{LOCK_SECONDS * 1000:.0f}', 0),
  ('transaction_timeout', '60000', 170000)
) setting (name, value, since) WHERE current_setting('server_version_num')::int >= since"""  # noqa: S608 - a constant
"""Bounds a writing transaction in its first statement: nobody may hold locks without an end."""

PINNED_PLANS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""For prepared hot statements: each is an index look-up whatever the statistics say, planned once
a connection."""

PASSED_ON: Final = frozenset({
    "host", "port", "dbname", "user", "password", "passfile", "service", "options", "sslmode",
    "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname",
    "gsslib",
})  # fmt: skip
"""What the driver reads from the address itself."""
_OURS: Final = frozenset({
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "tcp_user_timeout", "application_name", "fallback_application_name", "client_encoding",
})  # fmt: skip
"""What we set ourselves, whatever an address says: it is about waiting, and about names."""
_AS_EVER: Final = {
    "channel_binding": {"disable", "prefer"},
    "gssencmode": {"disable", "prefer"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
    "load_balance_hosts": {"disable"},
}
"""Parameters that the driver lacks, with the values by which nothing is asked of it."""
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL: Final = {"true": "require", "1": "require", "on": "require", "false": "disable"}
"""What ``ssl`` means as SQLAlchemy's addresses have it; other values are modes."""


class PostgresAway(OSError):
    """Nobody answers at an address, which is shown without its password."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """An address as the driver takes it, and as people may be shown it."""

    dsn: str
    shown: str


def postgres_address(url: str) -> PostgresAddress:
    """Read an address. Raises ``ValueError`` for a parameter that cannot be kept, by its name."""
    parts = urlsplit(url)
    given: dict[str, str] = {}
    for name, value in map(_libpq, parse_qsl(parts.query, keep_blank_values=True)):
        if name == "sslmode" and value not in _MODES:
            raise ValueError(f"has an sslmode that is none: {', '.join(_MODES)}")
        if name in PASSED_ON:
            given[name] = value
        elif name in _AS_EVER and value not in _AS_EVER[name]:
            raise ValueError(_refused(name, value))
        elif name not in _OURS and name not in _AS_EVER:
            raise ValueError(f"has a parameter that PostgreSQL's own tools do not know: {name}")
    query = f"?{urlencode(given, quote_via=quote)}" if given else ""
    hosts = parts.netloc.rpartition("@")[2] or given.get("host", "localhost")
    if "port" in given:
        hosts += f":{given['port']}"
    database = parts.path.lstrip("/") or given.get("dbname", "")
    return PostgresAddress(
        f"postgresql://{parts.netloc}{parts.path}{query}", f"postgresql://{hosts}/{database}"
    )


def postgres_dsn(url: str) -> str:
    """The address as the driver takes it."""
    return postgres_address(url).dsn


async def connect_postgres(
    url: str,
    settings: Mapping[str, str],
    *,
    steps_down: bool = True,
    command_seconds: float | None = COMMAND_SECONDS,
    transaction_ms: int = 0,
) -> Any:
    """A connection with these server settings, as the application's role unless told otherwise.

    Either side notices within ``DEAD_MS`` that the other's machine is gone. A server that can
    (PostgreSQL 17 and newer) ends transactions after ``transaction_ms``; 0 is never. Raises
    ``PostgresAway``.
    """
    shown = postgres_address(url).shown
    try:
        connection = await asyncpg.connect(
            postgres_dsn(url),
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=command_seconds,
            server_settings={**_SERVER_KEEPALIVES, **settings},
        )
    except TimeoutError as error:
        raise PostgresAway(
            f"{shown} does not answer: nothing came in {CONNECT_TIMEOUT_SECONDS:g} s"
        ) from error
    except OSError as error:
        if error.errno is None or isinstance(error, ssl.SSLError):
            raise  # somebody answers, and TLS does not work
        # the resolver's numbers are below 0, and only its own text says what they mean
        why = os.strerror(error.errno) if error.errno > 0 else error.strerror
        raise PostgresAway(f"{shown} cannot be reached: {why}") from error
    try:
        _notice_death(connection)
        if transaction_ms and connection.get_server_version().major >= _ENDS_TRANSACTIONS:
            await connection.execute(f"SET transaction_timeout = {transaction_ms}")
        if steps_down:
            await connection.execute(SET_ROLE)
    except BaseException:
        connection.terminate()
        raise
    return connection


_ENDS_TRANSACTIONS: Final = 17
_SERVER_KEEPALIVES: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": str(DEAD_MS),
}
_CLIENT_KEEPALIVES: Final = {
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": DEAD_MS,
}


def _notice_death(connection: Any) -> None:
    """Set on our end what the server settings set on its own, where the system knows it."""
    ours = connection._transport.get_extra_info("socket")
    if ours is None or ours.family == socket.AF_UNIX:
        return
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _CLIENT_KEEPALIVES.items():
        if (option := getattr(socket, name, None)) is not None:
            ours.setsockopt(socket.IPPROTO_TCP, option, value)


def _libpq(given: tuple[str, str]) -> tuple[str, str]:
    """A parameter by libpq's name."""
    name, value = given
    match name:
        case "ssl":
            return "sslmode", _SSL.get(value.lower(), value)
        case "database":
            return "dbname", value
        case _:
            return name, value


def _refused(name: str, value: str) -> str:
    if name == "channel_binding":
        return (
            "has channel_binding=require, which cannot be kept: take it out, and set "
            "sslmode=verify-full with sslrootcert for the same safety"
        )
    return f"has {name}={value}, which cannot be kept"
