"""The rule of ownership (``core.ownership``) as a condition of SQL statements."""

from typing import Any

from sqlalchemy import ColumnElement, bindparam

from guilder.core.actor import Actor


def owned(owner: ColumnElement[Any]) -> ColumnElement[bool]:
    """The rows that are an actor's own, in a prepared statement.

    Its parameter ``owner`` is whom the actor acts for.
    """
    return owner == bindparam("owner")


def owned_by(actor: Actor, owner: ColumnElement[Any]) -> ColumnElement[bool]:
    """The rows whose ``owner`` column says that they are the actor's own."""
    return owner == actor.acts_for
