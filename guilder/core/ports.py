"""Ports that more than one storey speaks through."""

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from guilder.core.events import DeliveryFailed, Undeliverable
from guilder.core.rates import Rate, Verdict


class PasswordHasher(Protocol):
    """Hashes and checks passwords; both are slow on purpose and run off the event loop."""

    async def hash(self, password: str) -> str:
        """An encoded hash with its own salt and parameters."""
        ...

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password fits; with None does the same work and says no."""
        ...

    def is_outdated(self, encoded: str) -> bool:
        """Whether today's hash would be made otherwise, and better."""
        ...


class CannotUnseal(ValueError):
    """It was changed, sealed for something else, or with a key that is gone. Never says what."""


class Sealer(Protocol):
    """Encrypts what has to be read again, bound to its place: ``table|column|id`` of the row."""

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """The sealed text; the same plain text gives another one every time."""
        ...

    def unseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The plain text; raises ``CannotUnseal`` where that is not what was sealed for there."""
        ...

    def is_outdated(self, sealed: bytes) -> bool:
        """Whether it was not sealed with today's key, so that it is worth sealing again."""
        ...


class RateLimiter(Protocol):
    """Keeps token buckets. ``guilder.core.rates.take`` is the rule that every store follows."""

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take a token from the bucket of that key; refuses as unavailable when it cannot tell."""
        ...


_MAIL_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ADDRESS: Final = re.compile(r'[^\s@<>()\[\]\\,;:"]{1,64}@[^\s@<>()\[\]\\,;:"]{1,253}')
_CONTROLS: Final = re.compile(r"[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter to one address, as text and as HTML.

    ``id`` stays the same when the letter is sent again, so that receivers can tell. Refuses with
    ``ValueError`` what could add a header or a recipient, and control characters anywhere.
    """

    id: str
    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)

    def __post_init__(self) -> None:
        broken = [
            name
            for name, holds in (
                ("id", _MAIL_ID.fullmatch(self.id)),
                ("to", _ADDRESS.fullmatch(self.to) and self.to.isprintable()),
                ("subject", self.subject.strip() and self.subject.isprintable()),
                ("text", not _CONTROLS.search(self.text)),
                ("html", not _CONTROLS.search(self.html)),
            )
            if not holds
        ]
        if broken:
            raise ValueError(f"a mail cannot have such a {' or '.join(broken)}")


class MailNotSent(DeliveryFailed):
    """The mail was not taken; sending it again later may help. Says why, without an address."""


class MailRefused(MailNotSent, Undeliverable):
    """The mail will never be taken: its address or what it says was refused for good."""


class Mailer(Protocol):
    """Hands mail over to whoever delivers it."""

    async def send(self, mail: Mail) -> None:
        """Return once the mail is taken; raises ``MailNotSent`` or ``MailRefused`` otherwise.

        The same mail may be taken twice when it is sent twice; its Message-ID is then the same.
        """
        ...
