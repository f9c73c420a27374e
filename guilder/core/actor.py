"""Who is asking: carried by every command and query, and written into the audit trail."""

from dataclasses import dataclass
from uuid import UUID

from guilder.core.permissions import GRANTS, Permission, Role


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller: a signed-in user, nobody yet, or the bank itself.

    ``user_id`` is None for the last two; ``request_id`` and ``ip_address`` are those of the
    request, empty outside one.
    """

    user_id: UUID | None
    role: Role | None
    request_id: str = ""
    ip_address: str = ""
    session_id: UUID | None = None

    def may(self, permission: Permission) -> bool:
        """Whether the actor's role has the permission; nobody yet has none."""
        return self.role is not None and permission in GRANTS[self.role]

    @property
    def name(self) -> str:
        """How the audit trail calls the actor."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        return "anonymous" if self.role is None else "system"


ANONYMOUS = Actor(None, None)
SYSTEM = Actor(None, Role.ADMIN)
