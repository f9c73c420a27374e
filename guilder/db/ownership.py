"""The rule of ownership (``core.ownership``) as conditions of SQL statements."""

from typing import Any

from sqlalchemy import ColumnElement, true

from guilder.core.actor import Actor
from guilder.core.ownership import sees_everything


def owned_by(actor: Actor, owner: ColumnElement[Any]) -> ColumnElement[bool]:
    """The rows whose ``owner`` column says that they are the actor's own."""
    return owner == actor.acts_for


def readable_by(actor: Actor, owner: ColumnElement[Any]) -> ColumnElement[bool]:
    """The rows that the actor may read."""
    return true() if sees_everything(actor) else owned_by(actor, owner)
