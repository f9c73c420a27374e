"""Who is asking: carried by every command and query, and written into the audit trail."""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from guilder.core.clock import MINUTE_US
from guilder.core.errors import SecondFactorDemanded, StepUpRequired
from guilder.core.permissions import GRANTS, Permission, Role

FRESH_US: Final = 5 * MINUTE_US
"""How long a sign-in or a step-up counts, in microseconds."""


class FactorDemand(Enum):
    """What a session lacks whose user's role demands a second factor."""

    SET_UP = "the user has none"
    PROVE = "the session has not proved the one that the user has, or had until a letter removed it"


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller: a signed-in user, nobody yet, or the bank itself.

    ``user_id`` is None for the last two; ``request_id`` and ``ip_address`` are those of the
    request, empty outside one. ``proved_at`` is when the caller last gave a password or a factor.
    An administrator acts as an ordinary user until the ``demand`` of their session is met.
    """

    user_id: UUID | None
    role: Role | None
    request_id: str = ""
    ip_address: str = ""
    session_id: UUID | None = None
    proved_at: int | None = None
    demand: FactorDemand | None = None

    def has_permission(self, permission: Permission) -> bool:
        """Whether the actor's role has the permission; nobody yet has none."""
        return self.role is not None and permission in GRANTS[self.role]

    @property
    def acts_for(self) -> UUID | None:
        """Whose things are the actor's own: the user's. The bank and nobody own nothing."""
        return self.user_id

    @property
    def name(self) -> str:
        """How the audit trail calls the actor."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        return "anonymous" if self.role is None else "system"

    @property
    def scope(self) -> str:
        """Whose idempotency keys and cursors are the actor's: the user, or the address of nobody.

        What one caller was given is worth nothing to another.
        """
        return self.name if self.user_id is not None else f"{self.name}:{self.ip_address}"


def require_proof(actor: Actor) -> None:
    """Raises ``SecondFactorDemanded`` where the password alone must not be enough.

    Else it could put another factor in the place of the one that is demanded.
    """
    if actor.demand is FactorDemand.PROVE:
        raise SecondFactorDemanded()


def require_fresh(actor: Actor, now_us: int) -> None:
    """Raises ``StepUpRequired`` unless the actor has signed in or stepped up within ``FRESH_US``.

    For what a stolen access token must not be enough for: security settings, risky payments.
    ``now_us`` is real time. Raises ``SecondFactorDemanded`` as ``require_proof`` does.
    """
    require_proof(actor)
    if actor.proved_at is None or abs(now_us - actor.proved_at) >= FRESH_US:
        raise StepUpRequired()


ANONYMOUS = Actor(None, None)
SYSTEM = Actor(None, Role.ADMIN)
