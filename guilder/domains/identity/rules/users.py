"""Users as plain values."""

import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import idna

from guilder.core.clock import DAY_US
from guilder.core.permissions import Role

SIGN_UP_US: Final = 30 * DAY_US
"""For how long who has signed up is told to confirm the address; later, that something is wrong."""


@dataclass(frozen=True, slots=True)
class User:
    """A login, as others may see it.

    ``is_disputed``: somebody has signed up with its address once more before that was proved.
    """

    id: UUID
    email: str
    full_name: str | None
    role: Role
    is_active: bool
    email_verified: bool
    created_at: int
    is_disputed: bool = False

    @property
    def yields_address(self) -> bool:
        """Whether the address goes to whoever proves it: nobody has proved it for this login.

        What the bank itself has decided stays: whom it has switched off or made an admin.
        """
        return self.is_active and not self.email_verified and self.role is not Role.ADMIN


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users: words that all stand in the address or the name, the role, active or not."""

    text: str | None = None
    role: Role | None = None
    is_active: bool | None = None


def email_key(email: str) -> str:
    """The form under which an address is unique, so that two mailboxes are never one user.

    Domains are compared as A-labels (IDNA 2008), what is before them by NFC and case alone:
    ``straße`` and ``strasse`` may be two people. A malformed address has a key of its own, too.
    """
    local, at, domain = email.rpartition("@")
    with suppress(idna.IDNAError):
        domain = idna.encode(domain, uts46=True).decode("ascii")
    return "".join(map(_small, unicodedata.normalize("NFC", local))) + at + domain.lower()


def masked(email: str) -> str:
    """An address for whom it need not belong to: what stands before the domain may be a stranger's
    words, which mail programs make a link of.
    """
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}***@{domain}"


def _small(character: str) -> str:
    """Unicode's simple case folding: one character stays one."""
    for form in (character.casefold(), character.lower()):
        if len(form) == 1:
            return form
    return character
