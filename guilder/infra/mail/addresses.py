"""Where mail goes, as the settings tell it: an address of the mail and one of the sender."""

import re
from dataclasses import dataclass, field
from email.headerregistry import Address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

_SENDER: Final = re.compile(
    r'(?:"?(?P<name>[^<>"\\]{1,100}?)"? ?<(?P<named>[^<>\s]+)>|(?P<bare>[^<>\s]+))'
)
_MAILBOX: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_SMTP_PORTS: Final = {("smtp", True): 587, ("smtp", False): 25}
_SMTPS_PORT: Final = 465


@dataclass(frozen=True, slots=True)
class ConsoleRoute:
    """Shown to whoever looks at the process."""


@dataclass(frozen=True, slots=True)
class FolderRoute:
    """Written into a folder, one file a mail."""

    folder: Path


@dataclass(frozen=True, slots=True)
class SmtpRoute:
    """Handed to a mail server; ``implicit_tls`` is TLS from the first byte."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    implicit_tls: bool = False


type MailRoute = ConsoleRoute | FolderRoute | SmtpRoute


def mail_route(url: str) -> MailRoute:
    """The route that an address names. Raises ``ValueError``, which does not show the address."""
    parts = urlsplit(url)
    try:
        if parts.query or parts.fragment or not url.isprintable():
            raise ValueError
        if url in {"console:", "console://"}:
            return ConsoleRoute()
        if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
            return FolderRoute(Path(unquote(parts.path)))
        if parts.scheme in {"smtp", "smtps"} and parts.path in {"", "/"}:
            return _server(parts)
    except ValueError:  # an invalid port, which the error would repeat
        pass
    raise ValueError(
        "must be console:, file:/folder, smtp://user:password@host:port or smtps://... "
        "(characters that mean something in an address as %XX)"
    )


def _server(parts: SplitResult) -> SmtpRoute:
    host, user, password = parts.hostname, parts.username, parts.password
    if not host or (user is None) != (password is None) or user == "" or password == "":
        raise ValueError
    implicit = parts.scheme == "smtps"
    usual = _SMTPS_PORT if implicit else _SMTP_PORTS["smtp", user is not None]
    return SmtpRoute(
        host,
        parts.port or usual,
        None if user is None else unquote(user),
        None if password is None else unquote(password),
        implicit,
    )


def sender_address(text: str) -> Address:
    """``Name <user@host>`` or ``user@host``. Raises ``ValueError`` for anything else."""
    match = _SENDER.fullmatch(text)
    mailbox = match and (match["named"] or match["bare"])
    if not match or not mailbox or not _MAILBOX.fullmatch(mailbox) or not text.isprintable():
        raise ValueError("must be Name <user@host> or user@host")
    return Address((match["name"] or "").strip(), addr_spec=mailbox)
