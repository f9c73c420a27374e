"""Ports that more than one storey speaks through."""

import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Protocol

from guilder.core.events import DeliveryFailed, Undeliverable
from guilder.core.rates import Rate, Verdict


class PasswordHasher(Protocol):
    """Hashes and checks passwords; both are slow on purpose and run off the event loop."""

    async def hash(self, password: str) -> str:
        """An encoded hash with its own salt and parameters."""
        ...

    async def verify(self, encoded: str | None, password: str, typed: str | None = None) -> bool:
        """Whether the password fits; with None does the same work and says no.

        ``typed`` is the password before it was brought into its normal form: hashes that another
        system has made are of that. Raises ``Unavailable`` when the hash names a key that is not
        there: then nobody can tell.
        """
        ...

    def is_outdated(self, encoded: str) -> bool:
        """Whether today's hash would be made otherwise, and better."""
        ...


class Macs(Protocol):
    """MACs of secrets, under keys that no database holds."""

    def of(self, secret: str) -> list[bytes]:
        """The MACs of a secret: with the current key, then with all others that there are."""
        ...


class CannotUnseal(ValueError):
    """It was changed, sealed for something else, or with a key that is gone. Never says what."""


class KeyMissing(CannotUnseal):
    """What is stored names a key that is not there. Says which, by its name."""


class Sealer(Protocol):
    """Encrypts what has to be read again, bound to its place: ``table|column|id`` of the row."""

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """The sealed text; the same plain text gives another one every time."""
        ...

    def unseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The plain text; raises ``CannotUnseal`` where that is not what was sealed for there.

        It is a ``KeyMissing`` when the key that the sealed text names is not there.
        """
        ...

    def is_outdated(self, sealed: bytes) -> bool:
        """Whether it was not sealed with today's key, so that it is worth sealing again."""
        ...


class AuditSigner(Protocol):
    """Signs rows of the audit trail with a key that the database does not hold."""

    def sign(self, content: bytes) -> tuple[bytes, bytes]:
        """The name of the key that is used, and the MAC of the content."""
        ...

    def sign_again(self, key: bytes, content: bytes) -> bytes | None:
        """The MAC under the key of a name, None when that key is lost for good.

        Raises ``KeyMissing`` when it is not there.
        """
        ...


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of a secret.

    ``id`` tells it from the others without telling its value; ``created_at`` is since when it is
    there, in microseconds since 1970, where the store knows.
    """

    id: str
    value: bytes = field(repr=False)
    created_at: int | None = None


class SecretsUnavailable(Exception):
    """The store of secrets cannot be read or changed now. Says why, never a value."""


class SecretsReadOnly(Exception):
    """The bank cannot change secrets that are kept there. Says who can."""


class SecretStore(Protocol):
    """Keeps the bank's secrets, each under a name and in versions. Its methods may block."""

    @property
    def poll_seconds(self) -> float | None:
        """How often to look for new versions; None where they cannot change while we run."""
        ...

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """Every version of a secret, newest first; none when there is no such secret.

        Raises ``SecretsUnavailable`` when it cannot tell.
        """
        ...

    def add(self, name: str, value: bytes) -> None:
        """Make ``value`` the newest version, whole or not at all; the others stay.

        Of two that are added at the same time both are there afterwards. Raises
        ``SecretsReadOnly`` or ``SecretsUnavailable``.
        """
        ...

    def drop(self, name: str, ids: Collection[str]) -> None:
        """Forget these versions; those that are gone already are no error. Raises like ``add``."""
        ...


class RateLimiter(Protocol):
    """Keeps token buckets. ``guilder.core.rates.take`` is the rule that every store follows."""

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take a token from the bucket of that key.

        Raises ``Unavailable`` when the store is away.
        """
        ...

    async def give_back(self, key: str, rate: Rate) -> None:
        """Put a token that was taken back into its bucket.

        Raises ``Unavailable`` when the store is away.
        """
        ...


_MAIL_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ADDRESS: Final = re.compile(r'[^\s@<>()\[\]\\,;:"]{1,64}@[^\s@<>()\[\]\\,;:"]{1,253}')
_CONTROLS: Final = re.compile(r"[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter to one address, as text and as HTML.

    ``id`` stays the same when the letter is sent again, so that receivers can tell. Raises
    ``ValueError`` for what could add a header or a recipient, and for control characters anywhere.
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


NO_FACTS: Final[Mapping[str, str]] = {}
NO_STEP: Final = nullcontext()
"""In the place of a step where nothing is traced."""


class Tracer(Protocol):
    """Shows the steps of a request to whoever looks into it."""

    def span(
        self, name: str, facts: Mapping[str, str] = NO_FACTS
    ) -> AbstractContextManager[object]:
        """A step, as long as the block lasts; nothing where no request is traced."""
        ...
