"""The one rule of ownership: what is an actor's own, and what an actor may see beyond that."""

from uuid import UUID

from guilder.core.actor import Actor
from guilder.core.permissions import Role


def owns(actor: Actor, owner: UUID | None) -> bool:
    """Whether what belongs to ``owner`` is the actor's own; what nobody owns is nobody's own."""
    return owner is not None and owner == actor.acts_for


def sees_everything(actor: Actor) -> bool:
    """Whether the actor may read what is not their own, as an administrator may."""
    return actor.role is Role.ADMIN


def may_read(actor: Actor, owner: UUID | None) -> bool:
    """Whether the actor may read what belongs to ``owner``."""
    return owns(actor, owner) or sees_everything(actor)
