"""Users as plain values."""

import unicodedata
from dataclasses import dataclass
from uuid import UUID

from guilder.core.permissions import Role


@dataclass(frozen=True, slots=True)
class User:
    """A login, as others may see it."""

    id: UUID
    email: str
    full_name: str | None
    role: Role
    is_active: bool
    email_verified: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users: words that all stand in the address or the name, the role, active or not."""

    text: str | None = None
    role: Role | None = None
    is_active: bool | None = None


def email_key(email: str) -> str:
    """The form under which an address is unique: case and compatibility forms do not count."""
    return unicodedata.normalize("NFKC", email).casefold()
