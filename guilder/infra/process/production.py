"""What production refuses: settings and keys with which money would not be safe."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from guilder.db.engine import UnsafeDatabase, check_sqlite_library, is_sqlite, sqlite_files
from guilder.db.files import open_to_others
from guilder.infra.mail.addresses import SmtpRoute
from guilder.infra.process.origins import (
    ANY_ORIGIN,
    is_ip_address,
    is_loopback,
    is_safe,
    shown_host,
)
from guilder.infra.security.passwords import common_passwords

MIN_KEY_BITS: Final = 80
"""A key of 32 random hexadecimal digits has about 113 by this measure and hardly ever fewer than
90; 32 letters ``a`` have 0."""
MAKE_ONE: Final = "such as `openssl rand -base64 48` prints"
KEYS: Final = ("GUILDER_SECRET_KEY", "GUILDER_ENCRYPTION_KEY")

_EVERYWHERE: Final = ("0.0.0.0:", "[::]:")
_ENCRYPTED: Final = frozenset(("require", "verify-ca", "verify-full", "true"))
_PLACEHOLDER: Final = re.compile(
    rb"change.?me|your.?(secret|key)|example|placeholder|insert.?here|password|x{8}", re.IGNORECASE
)


class ProductionSettings(Protocol):
    """The settings that are looked at here."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def database(self) -> str: ...
    @property
    def base_url(self) -> object | None: ...
    @property
    def cors_origins(self) -> tuple[str, ...]: ...
    @property
    def rate_limits(self) -> bool: ...
    @property
    def shows_metrics(self) -> bool: ...
    @property
    def metrics_address(self) -> str: ...
    @property
    def trusted_proxies(self) -> Sequence[object]: ...
    @property
    def shows_mail(self) -> bool: ...
    @property
    def keeps_keys_elsewhere(self) -> bool: ...
    @property
    def key_files(self) -> Sequence[Path]: ...
    @property
    def redis(self) -> str: ...
    @property
    def mail_route(self) -> object: ...
    def keys_given(self) -> Mapping[str, Sequence[bytes]]: ...


def production_problems(chosen: ProductionSettings) -> list[str]:
    """Everything that production refuses of these settings, each with what to set instead."""
    problems = list(_missing_keys(chosen))
    problems += key_problems(chosen.keys_given(), chosen.data_dir)
    if chosen.base_url is None:
        problems.append(
            "GUILDER_BASE_URL must be set in production: the https address of this bank"
        )
    elif not is_safe(str(chosen.base_url)):
        problems.append("GUILDER_BASE_URL must begin with https:// in production")
    if ANY_ORIGIN in chosen.cors_origins:
        problems.append(
            "GUILDER_CORS_ORIGINS=* is refused in production: list the origins that may call"
        )
    elif not all(map(is_safe, chosen.cors_origins)):
        problems.append("GUILDER_CORS_ORIGINS must be https:// origins in production")
    if not chosen.rate_limits:
        problems.append("GUILDER_RATE_LIMITS=off is refused in production")
    return [*problems, *_unsafe_database(chosen.database), *_open_files(chosen)]


def production_warnings(chosen: ProductionSettings) -> list[str]:
    """What production allows and its owner should know."""
    said = []
    if chosen.shows_mail:
        said.append("GUILDER_MAIL_URL is console: nobody gets any mail")
    if chosen.shows_metrics:
        said.append("GUILDER_METRICS_PUBLIC is on: everybody can read GET /metrics")
    if chosen.metrics_address.startswith(_EVERYWHERE):
        said.append("GUILDER_METRICS_ADDRESS is every address of this machine: keep others out")
    if not chosen.trusted_proxies:
        said.append(
            "GUILDER_TRUSTED_PROXIES is empty: behind a proxy all clients share one address, "
            "and its rate limits"
        )
    return said + list(_in_clear_text(chosen))


def address_warnings(address: str) -> list[str]:
    """What cannot work under the address by which people reach the bank."""
    host = urlsplit(address).hostname or ""
    if shown_host(host) == host and is_ip_address(host):
        return ["GUILDER_BASE_URL is an IP address: browsers use passkeys only under a name"]
    return []


def key_problems(keys: Mapping[str, Sequence[bytes]], data_dir: Path) -> list[str]:
    """What is wrong with keys, by the names of their settings; the newest first."""
    problems = []
    made_here = _generated(data_dir)
    for name, given in keys.items():
        if any(is_weak(key) for key in given):
            problems.append(f"{name} can be guessed: use random bytes, {MAKE_ONE}")
        if not made_here.isdisjoint(given):
            problems.append(
                f"{name} was generated for the sandbox: production needs one of its own, {MAKE_ONE}"
            )
    signing, encryption = (set(keys.get(name, ())) for name in KEYS)
    if signing & encryption:
        problems.append("GUILDER_ENCRYPTION_KEY must be another key than GUILDER_SECRET_KEY")
    return problems


def is_weak(key: bytes) -> bool:
    """Whether a key was thought up rather than drawn: few kinds, repeated, in a row, in words."""
    counts = Counter(key)
    bits = -sum(times * math.log2(times / len(key)) for times in counts.values())
    repeats = (key + key).find(key, 1) < len(key)
    in_a_row = sum(abs(one - other) <= 1 for one, other in pairwise(key))
    return (
        bits < MIN_KEY_BITS
        or repeats
        or in_a_row > 0.6 * len(key)
        or bool(_PLACEHOLDER.search(key))
    )


def _key_files(data_dir: Path) -> list[Path]:
    folder = data_dir / "keys"
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def _missing_keys(chosen: ProductionSettings) -> Iterator[str]:
    if chosen.keeps_keys_elsewhere:
        return
    for name in KEYS:
        if name not in chosen.keys_given():
            yield (
                f"{name} must be set in production, or {name}_FILE, or GUILDER_SECRETS_URL: "
                f"at least 32 random bytes, {MAKE_ONE}"
            )


def _generated(data_dir: Path) -> set[bytes]:
    """The keys that a sandbox has made in this data folder."""
    return {path.read_bytes().strip() for path in _key_files(data_dir)}


def _unsafe_database(url: str) -> Iterator[str]:
    if is_sqlite(url):
        try:
            check_sqlite_library()
        except UnsafeDatabase as error:
            yield f"GUILDER_DATABASE_URL: {error}"
        return
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    users = {unquote(parts.username or ""), *query.get("user", ())}
    usual = {"postgres", "guilder", *(user.casefold() for user in users)}
    for given in (unquote(parts.password or ""), *query.get("password", ())):
        password = given.casefold()
        if password and (password in usual or password in common_passwords()):
            yield "GUILDER_DATABASE_URL has a password that everybody tries first: set another one"
            return


def _open_files(chosen: ProductionSettings) -> Iterator[str]:
    """Files and folders that hold secrets or the bank, and that others can get into."""
    kept = [chosen.data_dir, chosen.data_dir / "keys", *_key_files(chosen.data_dir)]
    if is_sqlite(chosen.database):
        kept += sqlite_files(chosen.database)
    for path, mode in open_to_others(*dict.fromkeys([*kept, *chosen.key_files])):
        yield f"{path} is open to others than its owner: chmod {mode:o} {path}"


def _in_clear_text(chosen: ProductionSettings) -> Iterator[str]:
    """Connections to other machines that whoever is on the way can read."""
    redis, mail = urlsplit(chosen.redis), chosen.mail_route
    if redis.scheme == "redis" and not is_loopback(redis.hostname or "localhost"):
        yield "GUILDER_REDIS_URL is redis:// to another host, in clear text: use rediss://"
    if not is_sqlite(chosen.database):
        database = urlsplit(chosen.database)
        query = parse_qs(database.query)
        modes = {*query.get("sslmode", ()), *query.get("ssl", ())}
        host = query.get("host", [database.hostname or ""])[-1]
        here = not host or host.startswith("/") or is_loopback(host)
        if not here and not modes & _ENCRYPTED:
            yield (
                "GUILDER_DATABASE_URL is to another host and may be in clear text: add "
                "?sslmode=verify-full"
            )
    if isinstance(mail, SmtpRoute) and not (
        mail.implicit_tls or mail.user is not None or is_loopback(mail.host)
    ):
        yield (
            "GUILDER_MAIL_URL is smtp:// to another host: letters go in clear text where the "
            "server offers no STARTTLS; use smtps://"
        )
