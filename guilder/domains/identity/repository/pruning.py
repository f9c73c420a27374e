"""The SQL that deletes what is over: each statement at most so many rows, found by an index."""

from typing import Any

from sqlalchemy import ColumnElement, Delete, Select, exists, or_, select

from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import failures, refresh_tokens, repeated_sign_ups, sessions


async def has_expired_rows(
    view: View,
    failures_before: int,
    tokens_before: int,
    sessions_before: int,
    sign_ups_before: int,
) -> bool:
    """Whether there is anything to delete."""
    for found in (
        _old_failures(failures_before), _idle_tokens(tokens_before), _old_sessions(sessions_before),
        _old_sign_ups(sign_ups_before),
    ):  # fmt: skip
        if await view.first(found.limit(1)) is not None:
            return True
    return False


async def drop_failures(uow: UnitOfWork, before: int, most: int) -> int:
    """Failures of which the last was before that; tells how many.

    The condition stands twice: one that is counted meanwhile is no longer old.
    """
    chosen = failures.c.key.in_(_old_failures(before).limit(most))
    return await _dropped(uow, failures.delete().where(chosen, failures.c.last_at < before))


async def drop_tokens(uow: UnitOfWork, before: int, most: int) -> int:
    """Refresh tokens of sessions that were over before that; tells how many."""
    chosen = refresh_tokens.c.hash.in_(_idle_tokens(before).limit(most))
    return await _dropped(uow, refresh_tokens.delete().where(chosen))


async def drop_sessions(uow: UnitOfWork, before: int, most: int) -> int:
    """Sessions that were over before that and have no tokens left; tells how many."""
    chosen = sessions.c.id.in_(_old_sessions(before).limit(most))
    return await _dropped(uow, sessions.delete().where(chosen))


async def drop_sign_ups(uow: UnitOfWork, before: int, most: int) -> int:
    """Repeated sign-ups of before that; tells how many."""
    chosen = repeated_sign_ups.c.mac.in_(_old_sign_ups(before).limit(most))
    return await _dropped(uow, repeated_sign_ups.delete().where(chosen))


def _old_sign_ups(before: int) -> Select[Any]:
    return select(repeated_sign_ups.c.mac).where(repeated_sign_ups.c.created_at < before)


def _over(before: int) -> ColumnElement[bool]:
    return or_(sessions.c.ended_at < before, sessions.c.expires_at < before)


def _old_failures(before: int) -> Select[Any]:
    return select(failures.c.key).where(failures.c.last_at < before)


def _idle_tokens(before: int) -> Select[Any]:
    joined = sessions.join(refresh_tokens, refresh_tokens.c.session_id == sessions.c.id)
    return select(refresh_tokens.c.hash).select_from(joined).where(_over(before))


def _old_sessions(before: int) -> Select[Any]:
    tokens = exists().where(refresh_tokens.c.session_id == sessions.c.id)
    return select(sessions.c.id).where(_over(before), ~tokens)


async def _dropped(uow: UnitOfWork, statement: Delete) -> int:
    return (await uow.execute(statement)).rowcount
