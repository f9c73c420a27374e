"""The SQL of failures to sign in."""

from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from guilder.db.engine import RetryTransaction
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.identity.models import failures
from guilder.domains.identity.rules.lockout import Failures


async def failures_of(view: View, key: bytes) -> Failures | None:
    """The failures that are counted under a key; in a transaction that writes, locked."""
    statement = select(failures).where(failures.c.key == key)
    if isinstance(view, UnitOfWork):
        statement = statement.with_for_update()
    row = await view.first(statement)
    return None if row is None else Failures(row.in_a_row, row.last_at, row.locked_until)


async def count_failure(uow: UnitOfWork, key: bytes, user_id: UUID | None) -> Failures:
    """Count one more, of a user where that is known, and return the count.

    Raises ``RetryTransaction`` when another was the first meanwhile.
    """
    known = await failures_of(uow, key)
    now = (known or Failures()).with_failure(uow.now_us)
    values = {
        "in_a_row": now.in_a_row, "last_at": now.last_at, "locked_until": now.locked_until,
        "user_id": user_id,
    }  # fmt: skip
    if known is not None:
        await uow.execute(failures.update().where(failures.c.key == key).values(**values))
        return now
    try:
        await uow.execute(failures.insert().values(key=key, **values))
    except IntegrityError:
        raise RetryTransaction("two first failures at once") from None
    return now


async def forget_failures(uow: UnitOfWork, key: bytes) -> None:
    """Forget the failures of a key."""
    await uow.execute(failures.delete().where(failures.c.key == key))


async def forget_all_failures(uow: UnitOfWork, user_id: UUID, key: bytes) -> None:
    """Forget the failures of a key, and all of a user: on every device and in every session."""
    await uow.execute(
        failures.delete().where(or_(failures.c.key == key, failures.c.user_id == user_id))
    )
